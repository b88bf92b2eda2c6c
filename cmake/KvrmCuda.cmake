# The CUDA compiler's checks (preset `cuda`): every header that device code will share with the host compiles under
# nvcc for the architectures we support. The CUDA backend itself is not in this version (docs/STATUS.md).
option(KVRM_CUDA "Use the CUDA compiler" OFF)
if(NOT KVRM_CUDA)
  return()
endif()

if(NOT CMAKE_CUDA_COMPILER AND EXISTS /usr/local/cuda/bin/nvcc)
  set(CMAKE_CUDA_COMPILER /usr/local/cuda/bin/nvcc)
endif()
set(CMAKE_CUDA_ARCHITECTURES 80 90)
enable_language(CUDA)
# CMake 3.25 does not know nvcc's C++20 flag.
set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")

file(GLOB shared_headers RELATIVE ${CMAKE_SOURCE_DIR} CONFIGURE_DEPENDS harness/contract/*.h kernels/*/*.h)
set(cuda_text "")
foreach(header IN LISTS shared_headers)
  if(NOT header MATCHES "[_-](simd|inl|test|detail)|dispatch/")
    string(APPEND cuda_text "#include \"${header}\"\n")
  endif()
endforeach()
string(APPEND cuda_text "__global__ void kvrm_copy(kvrm::SlotEdit* to, const kvrm::SlotEdit* from) { *to = *from; }\n")
file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/cuda_checks/headers.cu CONTENT "${cuda_text}" @ONLY)
add_library(kvrm_cuda_checks OBJECT ${CMAKE_BINARY_DIR}/cuda_checks/headers.cu)
set_target_properties(kvrm_cuda_checks PROPERTIES CUDA_STANDARD 20)
target_include_directories(kvrm_cuda_checks PRIVATE ${CMAKE_SOURCE_DIR})
target_compile_options(kvrm_cuda_checks PRIVATE -Werror=all-warnings)
