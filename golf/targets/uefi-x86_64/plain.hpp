// UEFI on x86-64. The firmware's functions have Microsoft's calling convention.
#pragma once

#define EFI [[gnu::ms_abi]]

// What is needed of the firmware's tables (UEFI 2.10, chapters 4, 7 and 12): where it is.
struct TextOutput {
  void* reset;
  EFI long (*output_string)(TextOutput*, const char16_t*);
};
struct BootServices {
  char header_and_functions[256];
  EFI long (*set_watchdog_timer)(long seconds, long code, long bytes, const char16_t* data);
};
struct SystemTable {
  char header_and_input[64];
  TextOutput* output;
  char errors_and_runtime_services[24];
  BootServices* boot_services;
};
static_assert(__builtin_offsetof(SystemTable, boot_services) == 96);

// About the cycles of a story: 4 for a weight, 1,000 for an exponential, 10 for a number of a key or value. The firmware's
// watchdog resets the PC after 5 minutes; it is turned off for stories that could take 100 seconds on a processor of 1 GHz.
constexpr double cycles = seq_len * (1.0 * packed_bytes + 1000.0 * n_layers * (dim + 2 * hidden_dim)) +
                          0.5 * seq_len * seq_len * n_layers * n_heads * (20.0 * head_size + 1000);
constexpr bool watchdog_off = cycles > 1e11;

extern "C" void start();
extern "C" char memory[], memory_bytes[];  // plain.ld
static TextOutput* output;

// Text in UTF-16, a zero behind it. A line feed is CR LF there, for LF alone only goes down. What is not ASCII, and NUL, is told byte by
// byte, as DC00h + byte: a code that is no character, so nothing is lost. @output
static char16_t wide[2 * longest_piece + 1];
inline void write(const char* text, int length) {
  char16_t* to = wide;
  for (const char* end = text + length; text < end;) {
    const unsigned byte = *(const unsigned char*)text++;
    if (byte == '\n') *to++ = '\r';
    *to++ = byte - 1 < 127 ? byte : 0xdc00 + byte;
  }
  *to = 0;
  output->output_string(output, wide);
}

// From the firmware, which promises nothing of what memory holds; and back to it, with EFI_SUCCESS.
// @loop
extern "C" [[gnu::used]] EFI long begin(void*, SystemTable* table) {
  if constexpr (watchdog_off) table->boot_services->set_watchdog_timer(0, 0, 0, nullptr);
  char* at = memory;
  long count = (long)memory_bytes;
  asm volatile("rep stosb" : "+D"(at), "+c"(count) : "a"(0) : "memory");
  output = table->output;
  start();
  return 0;
}
inline void exit() {}
