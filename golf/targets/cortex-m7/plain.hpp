// A board with a Cortex-M7 and no operating system: Arm's MPS2+ with the FPGA image AN500. See README.md for its memory map.
#pragma once

typedef volatile unsigned long Register;

extern "C" [[noreturn]] void start();
extern "C" Register memory[], memory_end[];  // plain.ld

// UART0 sends a character after the other, as soon as its buffer has room.
struct Uart {
  Register data, state, control, interrupt, divisor;
};
inline Uart& uart = *(Uart*)0x40004000;

// @output
inline void write(const char* text, int length) {
  for (int i = 0; i < length; i++) {
    while (uart.state & 1) {}
    uart.data = text[i];
  }
}

// Where the processor begins: it may use the FPU, the UART is set up, memory, which may hold anything, is zero.
// @loop
extern "C" [[noreturn, gnu::used]] void reset() {
  *(Register*)0xe000ed88 = 0xf << 20;  // CPACR: all may use the coprocessors 10 and 11
  uart.divisor = 217;  // of 25 MHz: 115200 bits a second @output
  uart.control = 1;    // transmit @output
  for (Register* cell = memory; cell != memory_end; cell++) *cell = 0;
  start();
}

// The end, for whoever looks at the processor: a jump to itself.
[[noreturn]] inline void exit() {
  for (;;) {}
}
