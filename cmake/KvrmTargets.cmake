# Every second-level folder is one library, and its tests are one program.
#
#   kvrm_library(SOURCES a.cc ... DEPENDS kvrm_harness_base ...)   library kvrm_<first>_<second>, named after the folder
#   kvrm_test(SOURCES a_test.cc ... DEPENDS ...)                   program kvrm_<first>_<second>_test, linked with it
#
# Test labels: `threads` for what the thread sanitizer should see, `property` for RapidCheck and random cases.
#
# A folder of headers only gives no SOURCES.

function(kvrm_folder_name result)
  file(RELATIVE_PATH folder ${CMAKE_SOURCE_DIR} ${CMAKE_CURRENT_SOURCE_DIR})
  string(REPLACE "/" "_" name ${folder})
  set(${result} kvrm_${name} PARENT_SCOPE)
endfunction()

function(kvrm_library)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS" ${ARGN})
  kvrm_folder_name(name)
  if(ARG_SOURCES)
    add_library(${name} STATIC ${ARG_SOURCES})
    target_link_libraries(${name} PUBLIC kvrm_flags ${ARG_DEPENDS})
  else()
    add_library(${name} INTERFACE)
    target_link_libraries(${name} INTERFACE kvrm_flags ${ARG_DEPENDS})
  endif()
endfunction()

function(kvrm_test)
  if(NOT KVRM_TESTS)
    return()
  endif()
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS;LABELS" ${ARGN})
  kvrm_folder_name(name)
  add_executable(${name}_test ${ARG_SOURCES})
  target_link_libraries(${name}_test PRIVATE ${ARG_DEPENDS} kvrm_flags GTest::gmock GTest::gtest_main)
  if(TARGET ${name})
    target_link_libraries(${name}_test PRIVATE ${name})
  endif()
  target_compile_definitions(${name}_test PRIVATE KVRM_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  # Test discovery loses all but the first of a list of labels; `ctest -L` is a regular expression,
  # so one joined label serves.
  string(REPLACE ";" "_" labels "${ARG_LABELS}")
  gtest_discover_tests(${name}_test TEST_PREFIX "${name}/" WORKING_DIRECTORY ${CMAKE_SOURCE_DIR}
                       DISCOVERY_TIMEOUT 60 PROPERTIES LABELS "${labels}")
endfunction()
