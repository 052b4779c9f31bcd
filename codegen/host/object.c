/* object.c: lays out an ELF object. The bytes come from LLVM in this process; sizes are
 * checked all the same, so that a surprise is an error and never a wild read.
 *
 * This is the whole linker that a program needs. Code and constants are copied behind one
 * another with their alignment; then each relocation, which can only be a distance between
 * two places in the block, is written. Anything else (an outside symbol, an absolute
 * address, writable data) would tie the block to a place or a library and is refused. What
 * remains runs wherever it is mapped. */
#include "codegen/host/object.h"

#include <elf.h>

typedef struct object {
  mvs_diag *diag;
  const uint8_t *bytes;
  size_t size;
  const Elf64_Shdr *sections;
  size_t count;
  uint64_t *placed; /* offset in the block per section, UINT64_MAX: left out */
  const Elf64_Sym *symbols;
  size_t symbol_count;
  const char *names; /* of symbols */
  mvs_text *block;
} object;

/* Every refusal is ours, not the user's: "host code:" says which part of the compiler to
 * look at. */
static mvs_status fail(const object *o, const char *what, const char *name) {
  mvs_diag_error(o->diag, (mvs_span){NULL, 0, 0}, "host code: %s%s%s", what, name ? " " : "",
                 name ? name : "");
  return MVS_ERR_INTERNAL;
}

/* Whether the section's bytes lie in the object; NOBITS has none. */
static bool inside(const object *o, const Elf64_Shdr *section) {
  return section->sh_type == SHT_NOBITS ||
         (section->sh_offset <= o->size && section->sh_size <= o->size - section->sh_offset);
}

/* Finds the section table, the symbols and their names. */
static mvs_status read_sections(object *o) {
  const Elf64_Ehdr *head = (const Elf64_Ehdr *)o->bytes;
  if (o->size < sizeof *head || memcmp(head->e_ident, ELFMAG, SELFMAG) != 0 ||
      head->e_machine != EM_X86_64 || head->e_type != ET_REL) {
    return fail(o, "not an x86-64 object", NULL);
  }
  if (head->e_shoff > o->size || head->e_shnum * sizeof(Elf64_Shdr) > o->size - head->e_shoff) {
    return fail(o, "section table outside the object", NULL);
  }
  o->sections = (const Elf64_Shdr *)(o->bytes + head->e_shoff);
  o->count = head->e_shnum;
  for (size_t i = 0; i < o->count; ++i) {
    const Elf64_Shdr *section = &o->sections[i];
    if (!inside(o, section)) return fail(o, "section outside the object", NULL);
    if (section->sh_type != SHT_SYMTAB) continue;
    o->symbols = (const Elf64_Sym *)(o->bytes + section->sh_offset);
    o->symbol_count = section->sh_size / sizeof(Elf64_Sym);
    if (section->sh_link >= o->count) return fail(o, "symbol table without names", NULL);
    o->names = (const char *)(o->bytes + o->sections[section->sh_link].sh_offset);
  }
  return o->symbols ? MVS_OK : fail(o, "no symbol table", NULL);
}

/* Fills with zeros up to the alignment, a power of two of at most MVS_BLOCK_ALIGNMENT. */
static void pad(mvs_text *block, uint64_t alignment) {
  static const char zeros[MVS_BLOCK_ALIGNMENT];
  uint64_t over = block->length % alignment;
  if (over) mvs_text_add_bytes(block, zeros, alignment - over);
}

/* Unwind tables have a type of their own (or are left out by "nounwind"); all else that is
 * allocated is code or constants. */
static mvs_status place_sections(object *o) {
  o->placed = MVS_ARRAY(o->block->home, o->count, uint64_t);
  for (size_t i = 0; i < o->count; ++i) {
    const Elf64_Shdr *section = &o->sections[i];
    o->placed[i] = UINT64_MAX;
    if (!(section->sh_flags & SHF_ALLOC) || section->sh_size == 0) continue;
    if (section->sh_type == SHT_X86_64_UNWIND) continue;
    if (section->sh_flags & SHF_WRITE) return fail(o, "writable data", NULL);
    if (section->sh_type != SHT_PROGBITS || section->sh_addralign > MVS_BLOCK_ALIGNMENT) {
      return fail(o, "a section of unknown kind", NULL);
    }
    pad(o->block, section->sh_addralign ? section->sh_addralign : 1);
    o->placed[i] = o->block->length;
    mvs_text_add_bytes(o->block, (const char *)(o->bytes + section->sh_offset),
                       section->sh_size);
  }
  return MVS_OK;
}

/* Writes the distance from a place to its symbol: the only kind that holds wherever the block
 * lies. */
static mvs_status relocate(object *o, uint64_t base, uint64_t section_size,
                           const Elf64_Rela *entry) {
  size_t index = ELF64_R_SYM(entry->r_info);
  if (index >= o->symbol_count) return fail(o, "relocation without symbol", NULL);
  const Elf64_Sym *symbol = &o->symbols[index];
  if (symbol->st_shndx == SHN_UNDEF || symbol->st_shndx >= o->count ||
      o->placed[symbol->st_shndx] == UINT64_MAX) {
    return fail(o, "it needs a symbol from outside:", o->names + symbol->st_name);
  }
  uint64_t place = base + entry->r_offset;
  uint64_t target = o->placed[symbol->st_shndx] + symbol->st_value + (uint64_t)entry->r_addend;
  int64_t distance = (int64_t)(target - place);
  bool wide = ELF64_R_TYPE(entry->r_info) == R_X86_64_PC64;
  if (!wide && ELF64_R_TYPE(entry->r_info) != R_X86_64_PC32 &&
      ELF64_R_TYPE(entry->r_info) != R_X86_64_PLT32) {
    return fail(o, "a relocation that is not relative, to", o->names + symbol->st_name);
  }
  size_t width = wide ? 8 : 4;
  if (section_size < width || entry->r_offset > section_size - width ||
      (!wide && distance != (int32_t)distance)) {
    return fail(o, "relocation out of range, to", o->names + symbol->st_name);
  }
  memcpy(o->block->data + place, &distance, width); /* little-endian: the low bytes */
  return MVS_OK;
}

/* Goes through the relocation sections of everything that was placed. */
static mvs_status relocate_all(object *o) {
  for (size_t i = 0; i < o->count; ++i) {
    const Elf64_Shdr *section = &o->sections[i];
    if (section->sh_type != SHT_RELA || section->sh_info >= o->count) continue;
    uint64_t base = o->placed[section->sh_info];
    if (base == UINT64_MAX) continue;
    const Elf64_Rela *entries = (const Elf64_Rela *)(o->bytes + section->sh_offset);
    for (size_t k = 0; k < section->sh_size / sizeof *entries; ++k) {
      MVS_TRY(relocate(o, base, o->sections[section->sh_info].sh_size, &entries[k]));
    }
  }
  return MVS_OK;
}

/* Kernel functions are the global ones; shared functions are local. */
static void list_symbols(const object *o, mvs_symbols *symbols) {
  for (size_t i = 0; i < o->symbol_count; ++i) {
    const Elf64_Sym *symbol = &o->symbols[i];
    if (ELF64_ST_BIND(symbol->st_info) != STB_GLOBAL ||
        ELF64_ST_TYPE(symbol->st_info) != STT_FUNC || symbol->st_shndx >= o->count) {
      continue;
    }
    mvs_symbol found = {mvs_arena_string(o->block->home, o->names + symbol->st_name),
                        o->placed[symbol->st_shndx] + symbol->st_value};
    MVS_PUSH(o->block->home, symbols, found);
  }
}

/* Appends to a block that may hold other objects already: offsets count from the block's
 * start. */
mvs_status mvs_object_place(mvs_diag *diag, const void *bytes, size_t size, mvs_text *block,
                            mvs_symbols *symbols) {
  object o = {.diag = diag, .bytes = bytes, .size = size, .block = block};
  MVS_TRY(read_sections(&o));
  pad(block, MVS_BLOCK_ALIGNMENT);
  MVS_TRY(place_sections(&o));
  MVS_TRY(relocate_all(&o));
  list_symbols(&o, symbols);
  return MVS_OK;
}
