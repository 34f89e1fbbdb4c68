# Every target is made by one of the functions here: sources and dependencies are explicit.
#
#   ds_library(NAME SOURCES ... [DEPS ...] [PRIVATE_DEPS ...] [PRIVATE_HEADERS ...] [TORCH] [NOT_INSTALLED])
#   ds_program(NAME SOURCES ... [DEPS ...] [TORCH] [NOT_INSTALLED])            -> build/bin/NAME
#   ds_test(NAME SOURCES ... [DEPS ...] [TORCH] [LABELS ...] [ARGS ...])
#   ds_mpi_test(NAME TARGET ... RANKS n... [LABELS ...])       an existing test program under mpirun
#
# PRIVATE_HEADERS: headers beside the sources, without their .h, that only these sources read (cmake/ds_install.cmake).
# TORCH: the target compiles against LibTorch. It then must not compile protobuf or gRPC
# (tests/lint/include_paths_test.py checks that).

function(ds_compile_options target)
  target_compile_features(${target} PUBLIC cxx_std_20)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wno-unused-parameter
                         # Designated initialisers name what differs from the defaults: that is the idiom here.
                         -Wno-missing-field-initializers
                         # Only Clang knows what base/mutex.h says of locks.
                         $<$<CXX_COMPILER_ID:Clang>:-Wthread-safety>)
  if(DS_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
  target_include_directories(${target} PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>
                                              $<INSTALL_INTERFACE:${DS_INSTALL_INCLUDE}>)
endfunction()

function(ds_use_torch target)
  target_link_libraries(${target} PUBLIC ds::libtorch)
  if(DS_ENABLE_PCH AND NOT target STREQUAL "ds_torch_pch")
    # The header was precompiled for shared code; a program must be compiled alike to use it.
    set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
    target_compile_options(${target} PRIVATE -fPIC)
    target_precompile_headers(${target} REUSE_FROM ds_torch_pch)
  endif()
endfunction()

function(ds_library name)
  cmake_parse_arguments(ARG "TORCH;NOT_INSTALLED" "" "SOURCES;DEPS;PRIVATE_DEPS;PRIVATE_HEADERS" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  string(REGEX REPLACE "^ds_" "" short ${name})
  add_library(ds::${short} ALIAS ${name})
  ds_compile_options(${name})
  target_link_libraries(${name} PUBLIC ${ARG_DEPS} PRIVATE ${ARG_PRIVATE_DEPS})
  if(ARG_TORCH)
    ds_use_torch(${name})
  endif()
  if(NOT ARG_NOT_INSTALLED)
    ds_install_library(${name} "${ARG_SOURCES}" "${ARG_PRIVATE_HEADERS}")
  endif()
endfunction()

function(ds_program name)
  cmake_parse_arguments(ARG "TORCH;NOT_INSTALLED" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  ds_compile_options(${name})
  target_link_libraries(${name} PRIVATE ${ARG_DEPS})
  if(ARG_TORCH)
    ds_use_torch(${name})
  endif()
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin
                        INSTALL_RPATH_USE_LINK_PATH ON INSTALL_RPATH "${DS_FOREIGN_LIBRARIES}" BUILD_WITH_INSTALL_RPATH ON)
  if(NOT ARG_NOT_INSTALLED)
    install(TARGETS ${name} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  endif()
endfunction()

function(ds_test name)
  if(NOT DS_BUILD_TESTS)
    return()
  endif()
  cmake_parse_arguments(ARG "TORCH" "TIMEOUT" "SOURCES;DEPS;LABELS;ARGS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  add_executable(${name} ${ARG_SOURCES})
  ds_compile_options(${name})
  target_link_libraries(${name} PRIVATE ${ARG_DEPS} GTest::gmock GTest::gtest GTest::gtest_main)
  target_compile_definitions(${name} PRIVATE DS_SOURCE_DIR="${PROJECT_SOURCE_DIR}"
                                             DS_BINARY_DIR="${PROJECT_BINARY_DIR}")
  if(ARG_TORCH)
    ds_use_torch(${name})
  endif()
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
  add_test(NAME ${name} COMMAND ${name} ${ARG_ARGS})
  set_tests_properties(${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "${ARG_LABELS}")
  if(ARG_TORCH)
    # As many tests run at once as there are cores: OpenMP threads that spin while they wait would only take them from each other.
    set_property(TEST ${name} PROPERTY ENVIRONMENT OMP_WAIT_POLICY=passive)
  endif()
endfunction()

function(ds_mpi_test name)
  if(NOT DS_BUILD_TESTS OR NOT DS_ENABLE_MPI)
    return()
  endif()
  cmake_parse_arguments(ARG "" "TARGET;TIMEOUT" "RANKS;ARGS;LABELS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  foreach(ranks ${ARG_RANKS})
    add_test(NAME ${name}_np${ranks}
             COMMAND ${DS_MPIRUN} -np ${ranks} $<TARGET_FILE:${ARG_TARGET}> ${ARG_ARGS})
    set_tests_properties(${name}_np${ranks} PROPERTIES TIMEOUT ${ARG_TIMEOUT}
                         LABELS "mpi;${ARG_LABELS}" PROCESSORS 2)
  endforeach()
endfunction()
