# The programs, each kvrm.cc (the composition root) and a main, and what is installed.
set(version_header ${CMAKE_BINARY_DIR}/generated/kvrm_version.h)
add_custom_target(kvrm_version
  COMMAND ${CMAKE_COMMAND} -DOUTPUT=${version_header} -DVERSION=${KVRM_VERSION} -DSOURCE=${CMAKE_SOURCE_DIR}
          -P ${CMAKE_SOURCE_DIR}/cmake/version.cmake
  BYPRODUCTS ${version_header} COMMENT "Version and commit" VERBATIM)

add_library(kvrm_root STATIC kvrm.cc)
add_dependencies(kvrm_root kvrm_version)
target_include_directories(kvrm_root PRIVATE ${CMAKE_BINARY_DIR}/generated)
target_link_libraries(kvrm_root PUBLIC
  kvrm_flags kvrm_harness_driver kvrm_harness_bench
  kvrm_engines_null kvrm_engines_static kvrm_engines_paged kvrm_engines_kvrm kvrm_engines_decoder
  kvrm_engines_history_bench kvrm_engines_bench
  kvrm_kernels_dispatch kvrm_workloads_generators kvrm_workloads_traces kvrm_reports_writers
  kvrm_property_tests_oracle)

add_executable(kvrm harness/cli/main.cc)
target_link_libraries(kvrm PRIVATE kvrm_root kvrm_harness_cli)
add_executable(kvrm_bench harness/bench/main.cc)
target_link_libraries(kvrm_bench PRIVATE kvrm_root kvrm_harness_bench)
# Of this program only: NVTX would find the tool in any program that holds it.
if(KVRM_NVTX_FOUND)
  target_sources(kvrm_bench PRIVATE harness/bench/trace_receiver.cc harness/bench/trace_injection.cc)
  target_link_libraries(kvrm_bench PRIVATE kvrm_nvtx)
else()
  target_sources(kvrm_bench PRIVATE harness/bench/trace_receiver_none.cc)
endif()

include(GNUInstallDirs)
install(TARGETS kvrm kvrm_bench RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY workloads/experiments DESTINATION ${CMAKE_INSTALL_DATADIR}/kvrm)
install(FILES reports/results.schema.json DESTINATION ${CMAKE_INSTALL_DATADIR}/kvrm)
install(FILES README.md LICENSE CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
