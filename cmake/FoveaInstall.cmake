# cmake --install: the layers as fovea::<layer>, all of them as fovea::fovea, the headers, and what find_package needs.
include(CMakePackageConfigHelpers)

get_property(fovea_layer_targets GLOBAL PROPERTY FOVEA_LAYER_TARGETS)
list(REMOVE_ITEM fovea_layer_targets fovea_cli)  # the program's own parts
add_library(fovea_fovea INTERFACE)
add_library(fovea::fovea ALIAS fovea_fovea)
set_target_properties(fovea_fovea PROPERTIES EXPORT_NAME fovea)
target_link_libraries(fovea_fovea INTERFACE ${fovea_layer_targets})

set(fovea_cmake_dir ${CMAKE_INSTALL_LIBDIR}/cmake/fovea)
install(TARGETS fovea_fovea ${fovea_layer_targets} EXPORT fovea ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT fovea NAMESPACE fovea:: FILE foveaTargets.cmake DESTINATION ${fovea_cmake_dir})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/fovea DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h" PATTERN "*.inl"
        PATTERN cli EXCLUDE)

configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/foveaConfig.cmake.in ${CMAKE_BINARY_DIR}/foveaConfig.cmake
  INSTALL_DESTINATION ${fovea_cmake_dir})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/foveaConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/foveaConfig.cmake ${CMAKE_BINARY_DIR}/foveaConfigVersion.cmake
              ${PROJECT_SOURCE_DIR}/cmake/FindLibTorch.cmake
        DESTINATION ${fovea_cmake_dir})
