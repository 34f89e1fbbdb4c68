# cmake -DNAME=... -DOUTPUT=... -DOBJECTS=a.o|b.o -DARCHIVE=... -DLOCAL=name|name -DLD=... -DOBJCOPY=... -DNM=... -P merge_protobuf.cmake
#
# Links OBJECTS and what they need of the static protobuf ARCHIVE into one relocatable object, then makes
# every protobuf symbol, and those that hold a name of LOCAL, local to it. LibTorch carries, and exports, a
# protobuf of another version under the same names: symbols that are local can neither take its place nor be
# replaced by it.

function(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE failed)
  if(failed)
    message(FATAL_ERROR "failed (GNU binutils 2.29 or newer are needed): ${ARGN}")
  endif()
endfunction()

# --force-group-allocation dissolves COMDAT groups, which the final link could else merge with another
# protobuf's; a local symbol in a dropped group would be left dangling.
string(REPLACE "|" ";" objects "${OBJECTS}")
run(${LD} -r --force-group-allocation -o ${OUTPUT}.tmp ${objects} ${ARCHIVE})

# objcopy cannot make "unique" symbols (type u: static members of templates, guards) local: they get names
# of their own instead, with NAME in them, since a program may link several such objects.
execute_process(COMMAND ${NM} ${OUTPUT}.tmp OUTPUT_VARIABLE symbols)
string(REGEX MATCHALL " u [^\n]*(google8protobuf|${LOCAL})[^\n]*" unique "${symbols}")
set(renames "")
foreach(line ${unique})
  string(SUBSTRING "${line}" 3 -1 name)
  string(APPEND renames "${name} ds_private_${NAME}_${name}\n")
endforeach()
file(WRITE ${OUTPUT}.renames "${renames}")

set(local "")
string(REPLACE "|" ";" names "google8protobuf|google_2fprotobuf|scc_info_|${LOCAL}")
foreach(name ${names})
  list(APPEND local "--localize-symbol=*${name}*")
endforeach()
run(${OBJCOPY} --wildcard --redefine-syms=${OUTPUT}.renames ${local} ${OUTPUT}.tmp ${OUTPUT})
file(REMOVE ${OUTPUT}.tmp)
