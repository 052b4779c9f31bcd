# embed_files(OUT SYMBOL FILE...): writes a C file holding each file's bytes as
#   const struct { const char *name; const unsigned char *data; unsigned long size; } SYMBOL[];
# ended by a row of NULLs. Names are paths relative to the `BASE` given as the third argument.
function(embed_files out symbol base)
  set(files ${ARGN})
  add_custom_command(OUTPUT ${out}
    COMMAND ${CMAKE_COMMAND} "-DOUT=${out}" "-DSYMBOL=${symbol}" "-DBASE=${base}" "-DFILES=${files}"
            -P ${CMAKE_SOURCE_DIR}/cmake/embed_script.cmake
    DEPENDS ${files} ${CMAKE_SOURCE_DIR}/cmake/embed_script.cmake VERBATIM)
endfunction()
