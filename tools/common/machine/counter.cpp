// A plugin for QEMU: counts the instructions that an emulated processor executes, one by one, in 8 bytes of a file that
// others may read at any time. counter.py compiles and loads it.
//
// An instruction that follows itself is not counted again. So a repeated string instruction counts once, however QEMU makes it
// of several; so does one that QEMU begins again, because the memory that it writes to held translated code; and so does
// the jump to itself of a processor that has nothing left to do.
//
// QEMU has a header for plugins, which distributions leave out. These few declarations are all that is needed of it.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include <fcntl.h>
#include <sys/mman.h>

struct qemu_plugin_tb;    // a translated block
struct qemu_plugin_insn;  // an instruction in it
struct qemu_info_t;

extern "C" {
using Id = std::uint64_t;
void qemu_plugin_register_vcpu_tb_trans_cb(Id, void (*)(Id, qemu_plugin_tb*));
std::size_t qemu_plugin_tb_n_insns(const qemu_plugin_tb*);
qemu_plugin_insn* qemu_plugin_tb_get_insn(const qemu_plugin_tb*, std::size_t index);
std::uint64_t qemu_plugin_insn_vaddr(const qemu_plugin_insn*);
void qemu_plugin_register_vcpu_insn_exec_cb(qemu_plugin_insn*, void (*)(unsigned processor, void*), int registers, void*);

#define EXPORTED __attribute__((visibility("default")))
EXPORTED extern int qemu_plugin_version;
EXPORTED int qemu_plugin_install(Id, const qemu_info_t*, int count, char** arguments);
}

int qemu_plugin_version = PLUGIN_VERSION;  // of the interface; QEMU refuses what it does not know

namespace {

volatile std::uint64_t* counted;
void* last;
std::uint64_t from = 0, to = UINT64_MAX;  // only instructions that are there count

void executed(unsigned, void* address) {
  if (address != last) *counted = *counted + 1;
  last = address;
}

void translated(Id, qemu_plugin_tb* block) {
  for (std::size_t i = 0; i < qemu_plugin_tb_n_insns(block); i++) {
    qemu_plugin_insn* instruction = qemu_plugin_tb_get_insn(block, i);
    const std::uint64_t address = qemu_plugin_insn_vaddr(instruction);
    if (address >= from && address < to)
      qemu_plugin_register_vcpu_insn_exec_cb(instruction, executed, 0, reinterpret_cast<void*>(address));
  }
}

}  // namespace

int qemu_plugin_install(Id id, const qemu_info_t*, int count, char** arguments) {
  last = &last;  // no instruction is there
  for (int i = 0; i < count; i++) {
    char* value = std::strchr(arguments[i], '=');
    if (!value) return 1;
    *value++ = 0;
    if (!std::strcmp(arguments[i], "from")) from = std::strtoull(value, nullptr, 0);
    if (!std::strcmp(arguments[i], "to")) to = std::strtoull(value, nullptr, 0);
    if (!std::strcmp(arguments[i], "count")) {
      const int file = open(value, O_RDWR);
      void* memory = mmap(nullptr, sizeof *counted, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
      if (memory != MAP_FAILED) counted = static_cast<std::uint64_t*>(memory);
    }
  }
  if (!counted) return 1;
  qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
  return 0;
}
