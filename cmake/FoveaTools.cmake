# Compiler cache and a fast linker where the machine has them; warnings; sanitizers.

# Not beside the precompiled header: ccache would read its 650 MB for each file.
find_program(FOVEA_CCACHE ccache)
if(FOVEA_CCACHE AND NOT FOVEA_PCH AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${FOVEA_CCACHE})
endif()
find_program(FOVEA_MOLD mold)
find_program(FOVEA_LLD ld.lld)
if(FOVEA_MOLD)
  add_link_options(-fuse-ld=mold)
elseif(FOVEA_LLD)
  add_link_options(-fuse-ld=lld)
endif()

add_compile_options(-Wall -Wextra)
if(FOVEA_WERROR)
  # g++ 12 sees overflows in std::string's own code (its bugs 105329, 105651): those stay warnings.
  add_compile_options(-Werror)
  if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
    add_compile_options(-Wno-error=stringop-overflow -Wno-error=stringop-overread -Wno-error=restrict)
  endif()
endif()
if(FOVEA_SANITIZE)
  add_compile_options(-fsanitize=${FOVEA_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=undefined)
  if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
    # Version 12 sees uninitialised members in libtorch's empty optionals once they are instrumented.
    add_compile_options(-Wno-error=maybe-uninitialized)
  endif()
  add_link_options(-fsanitize=${FOVEA_SANITIZE})
endif()
