# The parts of the PyPI wheel `torch` that a CPU program needs, as imported targets.
#
# torch's own find_package(Torch) asks for a CUDA toolkit even for a CPU build, hence this file.
# Looks in FOVEA_TORCH_DIR (variable or environment), then in .deps/torch of the source tree.
# Defines LibTorch::torch_cpu and LibTorch::openmp.

if(NOT FOVEA_TORCH_DIR AND DEFINED ENV{FOVEA_TORCH_DIR})
  set(FOVEA_TORCH_DIR $ENV{FOVEA_TORCH_DIR})
endif()
if(NOT FOVEA_TORCH_DIR)
  file(GLOB FOVEA_TORCH_DIR ${CMAKE_SOURCE_DIR}/.deps/torch/lib/python3*/site-packages/torch)
endif()
find_path(LibTorch_INCLUDE_DIR ATen/ATen.h PATHS "${FOVEA_TORCH_DIR}/include" NO_DEFAULT_PATH NO_CACHE)
find_library(LibTorch_CPU_LIBRARY torch_cpu PATHS "${FOVEA_TORCH_DIR}/lib" NO_DEFAULT_PATH NO_CACHE)
find_library(LibTorch_C10_LIBRARY c10 PATHS "${FOVEA_TORCH_DIR}/lib" NO_DEFAULT_PATH NO_CACHE)
if(LibTorch_INCLUDE_DIR)
  file(STRINGS ${LibTorch_INCLUDE_DIR}/torch/headeronly/version.h lines REGEX "define TORCH_VERSION_(MAJOR|MINOR|PATCH) ")
  string(REGEX REPLACE "[^0-9;]" "" LibTorch_VERSION "${lines}")
  string(REPLACE ";" "." LibTorch_VERSION "${LibTorch_VERSION}")
endif()
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(LibTorch
  REQUIRED_VARS LibTorch_CPU_LIBRARY LibTorch_C10_LIBRARY LibTorch_INCLUDE_DIR
  VERSION_VAR LibTorch_VERSION
  REASON_FAILURE_MESSAGE "Run scripts/setup, or set FOVEA_TORCH_DIR to the folder of the Python package torch 2.11.0.")

# Headers of another libtorch or oneDNN on the default path would win over -idirafter without a word.
foreach(header ATen/ATen.h torch/torch.h dnnl.h oneapi/dnnl/dnnl.h)
  foreach(root /usr/include /usr/local/include)
    if(EXISTS ${root}/${header})
      message(FATAL_ERROR "${root}/${header} hides the header of the same name in ${FOVEA_TORCH_DIR}. "
                          "Remove the package that owns it (libtorch-dev, libdnnl-dev) and configure again.")
    endif()
  endforeach()
endforeach()

if(LibTorch_FOUND AND NOT TARGET LibTorch::torch_cpu)
  get_filename_component(LibTorch_LIBRARY_DIR ${LibTorch_CPU_LIBRARY} DIRECTORY)
  add_library(LibTorch::c10 SHARED IMPORTED)
  set_target_properties(LibTorch::c10 PROPERTIES IMPORTED_LOCATION ${LibTorch_C10_LIBRARY})

  # at::parallel_for is a template: without -fopenmp it runs serially and says nothing. The wheel brings its own
  # libgomp, so the flag is for compiling only and the library is named by hand.
  file(GLOB gomp ${LibTorch_LIBRARY_DIR}/libgomp*.so*)
  list(GET gomp 0 gomp)
  add_library(LibTorch::openmp SHARED IMPORTED)
  set_target_properties(LibTorch::openmp PROPERTIES IMPORTED_LOCATION ${gomp})
  if(NOT FOVEA_SANITIZE MATCHES thread)
    target_compile_options(LibTorch::openmp INTERFACE -fopenmp)
  endif()

  # -idirafter: torch carries fmt, protobuf and pybind11 of other versions, which must not hide the system's.
  add_library(LibTorch::torch_cpu SHARED IMPORTED)
  set_target_properties(LibTorch::torch_cpu PROPERTIES IMPORTED_LOCATION ${LibTorch_CPU_LIBRARY})
  target_compile_options(LibTorch::torch_cpu INTERFACE
    "SHELL:-idirafter ${LibTorch_INCLUDE_DIR}"
    "SHELL:-idirafter ${LibTorch_INCLUDE_DIR}/torch/csrc/api/include")
  target_link_libraries(LibTorch::torch_cpu INTERFACE LibTorch::c10 LibTorch::openmp)
  target_link_options(LibTorch::torch_cpu INTERFACE "LINKER:-rpath,${LibTorch_LIBRARY_DIR}")
endif()
