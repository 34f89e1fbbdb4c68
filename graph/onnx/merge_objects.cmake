# cmake -DOUTPUT=... -DOBJECTS=a.o|b.o -DARCHIVE=... -DLD=... -DOBJCOPY=... -P merge_objects.cmake
#
# Links OBJECTS and what they need of the static protobuf ARCHIVE into one relocatable object, then makes
# every protobuf and onnx symbol local to it. LibTorch carries, and exports, a protobuf of another version
# under the same names: symbols that are local can neither take its place nor be replaced by it.

string(REPLACE "|" ";" OBJECTS "${OBJECTS}")

# --force-group-allocation dissolves COMDAT groups, which the final link could else merge with another
# protobuf's; a local symbol in a dropped group would be left dangling.
execute_process(COMMAND ${LD} -r --force-group-allocation -o ${OUTPUT}.tmp ${OBJECTS} ${ARCHIVE}
                RESULT_VARIABLE failed)
if(failed)
  message(FATAL_ERROR "${LD} -r failed for ${OUTPUT}; GNU ld 2.29 or newer is needed")
endif()
execute_process(COMMAND ${OBJCOPY} --wildcard
                        --localize-symbol=*google8protobuf* --localize-symbol=*google_2fprotobuf*
                        --localize-symbol=*4onnx* --localize-symbol=*onnx_2dml_2eproto*
                        --localize-symbol=*scc_info_*
                        ${OUTPUT}.tmp ${OUTPUT}
                RESULT_VARIABLE failed)
file(REMOVE ${OUTPUT}.tmp)
if(failed)
  message(FATAL_ERROR "${OBJCOPY} failed for ${OUTPUT}")
endif()
