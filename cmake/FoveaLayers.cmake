# fovea_layer(NAME SOURCES ... USES ... [PUBLIC ...] [PRIVATE ...]): one layer of the library, target fovea_NAME.
#
# SOURCES name .cpp files of the layer's folder. USES names the layers above it, so that the linker enforces the order.
# PUBLIC libraries appear in the layer's headers, PRIVATE ones do not. A layer that USES torch gets the shared
# precompiled header.
function(fovea_layer name)
  cmake_parse_arguments(ARG "TORCH" "" "SOURCES;USES;PUBLIC;PRIVATE" ${ARGN})
  set(target fovea_${name})
  if(ARG_SOURCES)
    add_library(${target} STATIC ${ARG_SOURCES})
    set(scope PUBLIC)
  else()
    add_library(${target} INTERFACE)
    set(scope INTERFACE)
  endif()
  add_library(fovea::${name} ALIAS ${target})
  target_compile_features(${target} ${scope} cxx_std_20)
  target_include_directories(${target} ${scope}
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  list(TRANSFORM ARG_USES PREPEND fovea_)
  target_link_libraries(${target} ${scope} ${ARG_USES} ${ARG_PUBLIC})
  if(ARG_PRIVATE)
    target_link_libraries(${target} PRIVATE ${ARG_PRIVATE})
  endif()
  if(ARG_TORCH AND ARG_SOURCES)
    fovea_use_pch(${target})
    fovea_join_files(${target})
  endif()
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${name})
  set_property(GLOBAL APPEND PROPERTY FOVEA_LAYER_TARGETS ${target})
endfunction()

# Compiles the files of `target` a few at a time: every file that uses the precompiled header pays 6 s for torch's
# pending templates, files together pay once.
function(fovea_join_files target)
  set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 8)
  # g++ takes the joined files for headers, in which a type of an anonymous namespace would be a mistake.
  target_compile_options(${target} PRIVATE -Wno-subobject-linkage)
endfunction()

# Gives `target` the precompiled torch header, unless FOVEA_PCH is off.
function(fovea_use_pch target)
  if(NOT FOVEA_PCH)
    return()
  endif()
  if(NOT TARGET fovea_pch)
    file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/pch.cpp CONTENT "")  # unlike WRITE, leaves an equal file alone
    add_library(fovea_pch OBJECT ${CMAKE_BINARY_DIR}/pch.cpp)
    target_compile_features(fovea_pch PUBLIC cxx_std_20)
    target_link_libraries(fovea_pch PRIVATE LibTorch::torch_cpu)
    target_precompile_headers(fovea_pch PRIVATE ${PROJECT_SOURCE_DIR}/cmake/pch.h)
  endif()
  target_precompile_headers(${target} REUSE_FROM fovea_pch)
endfunction()
