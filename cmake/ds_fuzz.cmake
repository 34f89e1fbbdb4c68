# A parser's fuzz target, and the ordinary test that replays its corpus.
#
#   ds_fuzz(NAME SOURCE file.cc DEPS targets... [CORPUS folder] [FLIPS n] [TIMEOUT seconds])
#
# SOURCE defines LLVMFuzzerTestOneInput. Always: NAME_replay, a ctest that feeds it every file of CORPUS (default
# tests/fuzz/corpus/NAME without its _fuzz), cut at many lengths and with FLIPS (default 1000) fixed mutations a
# file. With DS_BUILD_FUZZ also: NAME, a libFuzzer program in build/fuzz (see README.md).

if(DS_BUILD_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "DS_BUILD_FUZZ needs Clang: apt-get install clang, then cmake --preset fuzz")
  endif()
  if(NOT CMAKE_CXX_FLAGS MATCHES "fuzzer-no-link")
    message(FATAL_ERROR "DS_BUILD_FUZZ needs every source compiled with -fsanitize=fuzzer-no-link, "
                        "or the fuzzer is blind: configure with cmake --preset fuzz")
  endif()
endif()

function(ds_fuzz name)
  cmake_parse_arguments(ARG "" "SOURCE;CORPUS;FLIPS;TIMEOUT" "DEPS" ${ARGN})
  if(NOT ARG_CORPUS)
    string(REGEX REPLACE "_fuzz$" "" short ${name})
    set(ARG_CORPUS ${PROJECT_SOURCE_DIR}/tests/fuzz/corpus/${short})
  endif()
  if(NOT ARG_FLIPS)
    set(ARG_FLIPS 1000)
  endif()
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()

  add_executable(${name}_replay ${ARG_SOURCE} ${PROJECT_SOURCE_DIR}/tests/fuzz/replay.cc)
  ds_compile_options(${name}_replay)
  target_link_libraries(${name}_replay PRIVATE ${ARG_DEPS} ds_base)
  set_target_properties(${name}_replay PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
  add_test(NAME ${name}_replay COMMAND ${name}_replay ${ARG_CORPUS} ${ARG_FLIPS})
  set_tests_properties(${name}_replay PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS fuzz)

  if(DS_BUILD_FUZZ)
    add_executable(${name} ${ARG_SOURCE})
    ds_compile_options(${name})
    target_link_libraries(${name} PRIVATE ${ARG_DEPS})
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/fuzz)
  endif()
endfunction()
