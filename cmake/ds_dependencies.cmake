# Finds what Downstream is built on. A dependency that is absent gets one message that says what to
# install or which option to switch off.

find_package(Threads REQUIRED)
find_package(absl QUIET)
if(NOT absl_FOUND)
  message(FATAL_ERROR "Abseil is missing: apt-get install libabsl-dev (or run launch/setup.sh)")
endif()
find_package(nlohmann_json QUIET)
if(NOT nlohmann_json_FOUND)
  message(FATAL_ERROR "nlohmann-json is missing: apt-get install nlohmann-json3-dev (or run launch/setup.sh)")
endif()
if(DS_BUILD_TESTS)
  find_package(GTest QUIET)
  if(NOT GTest_FOUND)
    message(FATAL_ERROR "GoogleTest is missing: apt-get install libgtest-dev libgmock-dev, "
                        "or configure with -DDS_BUILD_TESTS=OFF")
  endif()
endif()

if(NOT DS_EDGE_ONLY)
  find_package(OpenSSL QUIET COMPONENTS Crypto SSL)
  if(NOT OPENSSL_FOUND)
    message(FATAL_ERROR "OpenSSL is missing: apt-get install libssl-dev (or run launch/setup.sh), "
                        "or build the edge side only, which needs none, with -DDS_EDGE_ONLY=ON")
  endif()
endif()

# The project's own Python: oracle in tests, rival in benchmarks, carrier of LibTorch.
find_program(DS_PYTHON NAMES python3 PATHS ${PROJECT_SOURCE_DIR}/.venv/bin NO_DEFAULT_PATH)
if(NOT DS_PYTHON)
  find_program(DS_PYTHON NAMES python3)
endif()

if(DS_ENABLE_TORCH)
  if(DS_PYTHON)
    execute_process(COMMAND ${DS_PYTHON} -c "import torch.utils; print(torch.utils.cmake_prefix_path)"
                    OUTPUT_VARIABLE DS_TORCH_PREFIX OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  endif()
  # CMAKE_PREFIX_PATH, where the user set it, goes before the wheel in .venv.
  find_package(Torch QUIET)
  if(NOT Torch_FOUND AND DS_TORCH_PREFIX)
    find_package(Torch QUIET PATHS ${DS_TORCH_PREFIX} NO_DEFAULT_PATH)
  endif()
  if(NOT Torch_FOUND)
    message(FATAL_ERROR "LibTorch is missing: run launch/setup.sh (pip's torch in .venv), or name "
                        "your own with -DCMAKE_PREFIX_PATH=/path/to/libtorch, or build the edge side "
                        "only with -DDS_EDGE_ONLY=ON")
  endif()
  # TORCH_LIBRARIES drags in -fabi and kineto; what we need is the headers and the shared libraries.
  # Imported, as everything foreign is: an installed package names it and finds it anew.
  add_library(ds::libtorch INTERFACE IMPORTED)
  target_include_directories(ds::libtorch SYSTEM INTERFACE ${TORCH_INCLUDE_DIRS})
  target_link_libraries(ds::libtorch INTERFACE ${TORCH_LIBRARIES})
  # Where installed programs look: CMake itself leaves out what lies in the source folder, as .venv does.
  list(APPEND DS_FOREIGN_LIBRARIES ${TORCH_INSTALL_PREFIX}/lib)
endif()

set(DS_HAVE_CUDA OFF)
if(DS_ENABLE_CUDA STREQUAL "ON" OR (DS_ENABLE_CUDA STREQUAL "AUTO" AND NOT DS_EDGE_ONLY))
  find_package(CUDAToolkit QUIET)
  if(CUDAToolkit_FOUND AND CUDAToolkit_NVCC_EXECUTABLE)
    set(DS_HAVE_CUDA ON)
  elseif(DS_ENABLE_CUDA STREQUAL "ON")
    message(FATAL_ERROR "nvcc is missing: install the CUDA toolkit and name its folder with "
                        "-DCUDAToolkit_ROOT=/path/to/cuda, or configure with -DDS_ENABLE_CUDA=OFF")
  endif()
endif()

if(DS_ENABLE_GRPC)
  # Debian's gRPC config wants protobuf's and c-ares' too; pkg-config's needs nothing else.
  find_package(PkgConfig QUIET)
  if(PkgConfig_FOUND)
    pkg_check_modules(grpcpp QUIET IMPORTED_TARGET grpc++)
  endif()
  find_package(prometheus-cpp QUIET)
  if(NOT grpcpp_FOUND OR NOT prometheus-cpp_FOUND)
    message(FATAL_ERROR "gRPC or prometheus-cpp is missing: apt-get install libgrpc++-dev prometheus-cpp-dev "
                        "(or run launch/setup.sh), or configure with -DDS_ENABLE_GRPC=OFF")
  endif()
endif()

if(DS_ENABLE_MPI)
  set(MPI_SKIP_MPICXX TRUE)
  find_package(MPI QUIET COMPONENTS C)
  if(NOT MPI_C_FOUND)
    message(FATAL_ERROR "Open MPI is missing: apt-get install libopenmpi-dev openmpi-bin, "
                        "or configure with -DDS_ENABLE_MPI=OFF")
  endif()
  # As root Open MPI wants to be told twice; oversubscribed ranks must yield.
  set(DS_MPIRUN ${CMAKE_COMMAND} -E env OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
      OMP_NUM_THREADS=1 ${MPIEXEC_EXECUTABLE} --oversubscribe --bind-to none
      --mca mpi_yield_when_idle 1 --mca btl_vader_single_copy_mechanism none)
endif()
