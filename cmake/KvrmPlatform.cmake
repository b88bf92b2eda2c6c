# One clear configure error anywhere but on Linux x86-64, and the compile flags of every target.
if(NOT CMAKE_SYSTEM_NAME STREQUAL "Linux" OR NOT CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$")
  message(FATAL_ERROR "kvrm runs on Linux x86-64 only; this is ${CMAKE_SYSTEM_NAME} ${CMAKE_SYSTEM_PROCESSOR}.")
endif()

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_CXX_FLAGS_RELEASE "-O2")

find_program(KVRM_CCACHE ccache)
if(KVRM_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${KVRM_CCACHE})
endif()

option(KVRM_WERROR "Warnings are errors" ON)
option(KVRM_MUTANTS "Plant the faults of harness/base/mutation.h, of which KVRM_MUTANT chooses one at run time" OFF)
option(KVRM_FUZZ "Build the fuzzers of property_tests/fuzz, which need clang" OFF)
set(KVRM_SANITIZE "" CACHE STRING "Value of -fsanitize=, empty for none")

add_library(kvrm_flags INTERFACE)
# -ffp-contract=off: a result must not depend on whether the compiler found a fused multiply-add.
# Fields left out of a designated initialiser have their defaults; that is not worth a warning.
target_compile_options(kvrm_flags INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wno-missing-field-initializers
                       -ffp-contract=off)
target_include_directories(kvrm_flags INTERFACE ${CMAKE_SOURCE_DIR})
if(KVRM_WERROR)
  target_compile_options(kvrm_flags INTERFACE -Werror)
endif()
if(KVRM_MUTANTS)
  # Not part of what is measured or installed: only scripts/mutants builds it.
  add_compile_definitions(KVRM_MUTANTS)
endif()
if(KVRM_SANITIZE)
  # -O1, which comes after the build type's -O2: half the time to build, and the checks hide what they cost anyway.
  add_compile_options(-O1 -fsanitize=${KVRM_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${KVRM_SANITIZE})
  # For tests that replace what a sanitizer replaces too; compilers have different words for it.
  add_compile_definitions(KVRM_SANITIZED)
endif()
if(KVRM_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    message(FATAL_ERROR "KVRM_FUZZ needs clang's libFuzzer; this compiler is ${CMAKE_CXX_COMPILER_ID}. Use --preset fuzz.")
  endif()
  # Coverage feedback in every library; the fuzzers themselves link the driver (property_tests/fuzz).
  add_compile_options(-fsanitize=fuzzer-no-link)
  add_link_options(-fsanitize=fuzzer-no-link)
endif()
