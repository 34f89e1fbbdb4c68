# Protobuf for a library that may be linked beside LibTorch, which exports another protobuf's symbols: linked
# statically, and its symbols made local (merge_protobuf.cmake, tests/support/protobuf_symbols_test.cmake).
#
#   ds_protobuf_object(OUT NAME PROTO file.proto SOURCES ... LOCAL names... [DEPS ...])
#
# OUT becomes the path of one object for the SOURCES of a ds_library: PROTO's generated code (lite), SOURCES and
# protobuf itself. LOCAL: parts of mangled names, of PROTO's package and file, that are made local with
# protobuf's own. PROTO is given by its path; SOURCES include it as NAME.pb.h. DS_HAVE_PROTOBUF says whether it
# can be built.

find_program(DS_PROTOC protoc)
find_library(DS_PROTOBUF_LITE libprotobuf-lite.a)
find_path(DS_PROTOBUF_INCLUDE google/protobuf/message_lite.h)
set(DS_HAVE_PROTOBUF OFF)
if(DS_PROTOC AND DS_PROTOBUF_LITE AND DS_PROTOBUF_INCLUDE)
  set(DS_HAVE_PROTOBUF ON)
endif()

function(ds_protobuf_object out name)
  cmake_parse_arguments(ARG "" "PROTO" "SOURCES;LOCAL;DEPS" ${ARGN})
  get_filename_component(stem ${ARG_PROTO} NAME_WE)
  set(folder ${CMAKE_CURRENT_BINARY_DIR}/proto)
  file(MAKE_DIRECTORY ${folder})
  configure_file(${ARG_PROTO} ${folder}/${stem}.proto COPYONLY)
  add_custom_command(
    OUTPUT ${folder}/${stem}.pb.cc ${folder}/${stem}.pb.h
    COMMAND ${DS_PROTOC} --cpp_out=lite:${folder} -I${folder} ${stem}.proto
    DEPENDS ${folder}/${stem}.proto VERBATIM)
  set_source_files_properties(${folder}/${stem}.pb.cc PROPERTIES COMPILE_OPTIONS -w)

  set(objects ${name}_objects)
  add_library(${objects} OBJECT ${folder}/${stem}.pb.cc ${folder}/${stem}.pb.h ${ARG_SOURCES})
  ds_compile_options(${objects})
  # Unique symbols (inline variables) would clash once their COMDAT groups are dissolved; weak ones merge.
  target_compile_options(${objects} PRIVATE $<$<CXX_COMPILER_ID:GNU>:-fno-gnu-unique>)
  target_include_directories(${objects} SYSTEM PRIVATE ${folder} ${DS_PROTOBUF_INCLUDE})
  target_link_libraries(${objects} PRIVATE ${ARG_DEPS})

  set(merged ${CMAKE_CURRENT_BINARY_DIR}/${stem}_with_protobuf.o)
  set(script ${PROJECT_SOURCE_DIR}/cmake/merge_protobuf.cmake)
  string(REPLACE ";" "|" local "${ARG_LOCAL}")
  add_custom_command(
    OUTPUT ${merged}
    COMMAND ${CMAKE_COMMAND} -DNAME=${name} -DOUTPUT=${merged} "-DOBJECTS=$<JOIN:$<TARGET_OBJECTS:${objects}>,|>" "-DLOCAL=${local}"
            -DARCHIVE=${DS_PROTOBUF_LITE} -DLD=${CMAKE_LINKER} -DOBJCOPY=${CMAKE_OBJCOPY} -DNM=${CMAKE_NM} -P ${script}
    DEPENDS ${objects} $<TARGET_OBJECTS:${objects}> ${script} ${DS_PROTOBUF_LITE}
    VERBATIM)
  set_source_files_properties(${merged} PROPERTIES EXTERNAL_OBJECT TRUE GENERATED TRUE)
  set(${out} ${merged} PARENT_SCOPE)
endfunction()

#   ds_protobuf_symbols_test(NAME LIBRARY target SEES symbol LOCAL names... [LABELS ...])
#
# A ctest: no symbol of protobuf's, or with a name of LOCAL in it, is visible outside LIBRARY, which defines SEES.
function(ds_protobuf_symbols_test name)
  cmake_parse_arguments(ARG "" "LIBRARY;SEES" "LOCAL;LABELS" ${ARGN})
  string(REPLACE ";" "|" local "${ARG_LOCAL}")
  add_test(NAME ${name}
           COMMAND ${CMAKE_COMMAND} -DNM=${CMAKE_NM} -DLIBRARY=$<TARGET_FILE:${ARG_LIBRARY}> -DSEES=${ARG_SEES} "-DLOCAL=${local}"
                   -P ${PROJECT_SOURCE_DIR}/tests/support/protobuf_symbols_test.cmake)
  set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}")
endfunction()
