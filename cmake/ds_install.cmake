# cmake --install: libraries, their headers and a package config, so that find_package(Downstream) gives others ds::trainer,
# ds::quant, ds::deploy, ... by the names they have here. cmake/DownstreamConfig.cmake.in finds what they depend on, wherever
# that is on the machine of whoever uses them.

include(GNUInstallDirs)
set(DS_INSTALL_INCLUDE ${CMAKE_INSTALL_INCLUDEDIR}/downstream)
set(DS_INSTALL_CMAKE ${CMAKE_INSTALL_LIBDIR}/cmake/Downstream)

# Installs a library and the headers beside its sources, under the path that includes them. Headers that only its own sources
# read stay behind: those in `private_headers`, internal.h, and what is included in the middle of a source (*_inl.h).
function(ds_install_library name sources private_headers)
  string(REGEX REPLACE "^ds_" "" short ${name})
  set_target_properties(${name} PROPERTIES EXPORT_NAME ${short})
  install(TARGETS ${name} EXPORT DownstreamTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  list(FILTER sources EXCLUDE REGEX "^/")
  set(folders "")
  foreach(source ${sources})
    cmake_path(ABSOLUTE_PATH source NORMALIZE)
    cmake_path(GET source PARENT_PATH folder)
    list(APPEND folders ${folder})
  endforeach()
  list(REMOVE_DUPLICATES folders)
  list(TRANSFORM private_headers PREPEND "/")
  list(JOIN private_headers "|" private)
  string(JOIN "|" private /internal _inl ${private})
  foreach(folder ${folders})
    cmake_path(RELATIVE_PATH folder BASE_DIRECTORY ${PROJECT_SOURCE_DIR} OUTPUT_VARIABLE below)
    cmake_path(GET folder FILENAME last)
    # Folders below come with their own libraries.
    install(DIRECTORY ${folder}/ DESTINATION ${DS_INSTALL_INCLUDE}/${below}
            FILES_MATCHING PATTERN "*.h" REGEX "/${last}/[^/.]+$" EXCLUDE
            REGEX "(${private})\\.h$" EXCLUDE)
  endforeach()
endfunction()

# After every target: what find_package reads.
function(ds_install_package)
  include(CMakePackageConfigHelpers)
  configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/DownstreamConfig.cmake.in
                                ${PROJECT_BINARY_DIR}/DownstreamConfig.cmake INSTALL_DESTINATION ${DS_INSTALL_CMAKE})
  # Before 1.0 a new minor version may change what headers declare.
  write_basic_package_version_file(${PROJECT_BINARY_DIR}/DownstreamConfigVersion.cmake COMPATIBILITY SameMinorVersion)
  install(FILES ${PROJECT_BINARY_DIR}/DownstreamConfig.cmake ${PROJECT_BINARY_DIR}/DownstreamConfigVersion.cmake
          DESTINATION ${DS_INSTALL_CMAKE})
  install(EXPORT DownstreamTargets NAMESPACE ds:: DESTINATION ${DS_INSTALL_CMAKE})
endfunction()
