# Tests of the tree itself: include directions, and that every public header compiles alone. They say nothing more in a
# build with sanitizers.
if(NOT KVRM_TESTS OR KVRM_SANITIZE)
  return()
endif()

find_package(Python3 REQUIRED COMPONENTS Interpreter)
add_test(NAME house/includes COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/scripts/check_tree)
add_test(NAME house/includes_finds_planted_faults
         COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/scripts/check_tree_test)
add_test(NAME house/tidy_finds_planted_faults
         COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/scripts/tidy_test)
set_tests_properties(house/tidy_finds_planted_faults PROPERTIES SKIP_RETURN_CODE 77)

# One translation unit a header, holding nothing but that header, twice; but none for x.h beside x.cc, which
# shows the same: scripts/check_tree holds it to include x.h first.
file(GLOB_RECURSE headers RELATIVE ${CMAKE_SOURCE_DIR} CONFIGURE_DEPENDS
     harness/*.h kernels/*.h engines/*.h workloads/*.h reports/*.h property_tests/*.h)
set(header_sources)
foreach(header IN LISTS headers)
  string(REGEX REPLACE "\\.h$" "" stem ${CMAKE_SOURCE_DIR}/${header})
  if(EXISTS ${stem}.cc)
    continue()
  endif()
  string(REPLACE "/" "_" name ${header})
  set(source ${CMAKE_BINARY_DIR}/headers/${name}.cc)
  set(text "#include \"${header}\"\n#include \"${header}\"\n")
  file(CONFIGURE OUTPUT ${source} CONTENT "${text}" @ONLY)
  list(APPEND header_sources ${source})
endforeach()
add_library(kvrm_headers OBJECT EXCLUDE_FROM_ALL ${header_sources})
target_link_libraries(kvrm_headers PRIVATE kvrm_flags tl::expected fmt::fmt yaml-cpp CLI11::CLI11
                      nlohmann_json::nlohmann_json hwy::hwy DNNL::dnnl)
target_compile_options(kvrm_headers PRIVATE -O0)
add_test(NAME house/headers_compile_alone
         COMMAND ${CMAKE_COMMAND} --build ${CMAKE_BINARY_DIR} --target kvrm_headers)
