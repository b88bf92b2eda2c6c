# Writes the header with version and commit, only when one of them changed. Run at every build with
# -DOUTPUT=FILE -DVERSION=x.y.z -DSOURCE=DIR.
execute_process(COMMAND git -C ${SOURCE} describe --tags --exact-match OUTPUT_VARIABLE tag
                OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
execute_process(COMMAND git -C ${SOURCE} rev-parse --short=12 HEAD OUTPUT_VARIABLE commit
                OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
execute_process(COMMAND git -C ${SOURCE} status --porcelain --untracked-files=no OUTPUT_VARIABLE changes
                OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
if(NOT commit)
  set(commit "unknown")
elseif(changes)
  string(APPEND commit "-modified")
endif()
if(NOT tag)
  set(tag "v${VERSION}-untagged")
endif()
set(text "// Written by cmake/version.cmake at every build.\n#pragma once\n")
string(APPEND text "#define KVRM_VERSION_TEXT \"${VERSION} (tag ${tag}, commit ${commit})\"\n")
set(old "")
if(EXISTS ${OUTPUT})
  file(READ ${OUTPUT} old)
endif()
if(NOT old STREQUAL text)
  file(WRITE ${OUTPUT} "${text}")
endif()
