# LLVM 19 through its C API. Release builds link it statically, so that mvcc runs on machines without LLVM.
find_program(LLVM_CONFIG NAMES llvm-config-19 REQUIRED)
function(llvm_config out)
  execute_process(COMMAND ${LLVM_CONFIG} ${ARGN} OUTPUT_VARIABLE text OUTPUT_STRIP_TRAILING_WHITESPACE
    COMMAND_ERROR_IS_FATAL ANY)
  separate_arguments(text UNIX_COMMAND "${text}")
  set(${out} ${text} PARENT_SCOPE)
endfunction()
llvm_config(llvm_includes --includedir)
llvm_config(llvm_libdir --libdir)
add_library(llvm INTERFACE)
target_include_directories(llvm SYSTEM INTERFACE ${llvm_includes})
if(MVCC_LLVM_SHARED)
  target_link_libraries(llvm INTERFACE -L${llvm_libdir} -lLLVM-19)
else()
  llvm_config(llvm_libs --link-static --libs x86 orcjit passes)
  target_link_libraries(llvm INTERFACE -L${llvm_libdir} ${llvm_libs}
    -Wl,-Bstatic -lstdc++ -lz -lzstd -Wl,-Bdynamic -static-libgcc -lm -ldl pthread)
endif()
