; boot.asm: a story from one boot sector. The image is this sector, then the packed model.
;
; MEMORY MAP
;     0500h … 7000h    stack in real mode (the disk packets, 16 bytes a sector, stay on it)
;     7C00h            this sector
;     7E00h … 9FC00h   the model: bf16, dense; read 32 bits at a time from two bytes before each weight
;     B8000h           screen: a byte of text goes to each cell as it is (a line feed is shown as the glyph 0Ah)
;     WALK             above 1 MB: the stack grows down from here, the walk (see transformer.inc) up
;
; A record is: the length of the text, three zero bytes, the text padded with zeros to a multiple of 4, the bf16
; embedding. The length of BOS is 0.
;
; FEATURES, which asm-boot-full has and asm-boot has not (see engines.json);
; `llama512 size --features` says what each costs:
;
;     LINE_BREAKS   a line feed goes to the next row
;     SERIAL        the text goes to COM1 as well; a line feed stays one
;     CLEAR         the screen is cleared first
;     PROMPT        the story begins with the tokens of `prompt`: PROMPT is the list of their numbers, 1 or 2 bytes each
;     READ_ERROR    a message when a sector cannot be read
;
; Needs a 486 with FPU, and a BIOS with INT 13h extensions. `llama512 build` assembles it.

[map symbols engine.map]                ; the build reads `padding` from it
%include "config.inc"
%define ADVANCE lodsw
%define EPS     [ebp + eps - rows]
%define BEGIN   esp                     ; the walk begins just above the stack
%ifndef NO_FAST                         ; for the price list
  %define FAST
%endif
%include "transformer.inc"

%ifdef LINE_BREAKS
  %define SLOT  edi                     ; where the slot written last is between two passes
  %define OTHER ebx
%else
  %define SLOT  ebx
  %define OTHER edi
%endif

%ifdef READ_ERROR                       ; cx tells whether all has been read
  %define FLAT     bx
  %define SELECTOR ebx
%else
  %define FLAT     cx
  %define SELECTOR ecx
%endif

%ifdef PROMPT
  %macro PROMPT_SIZE 0-*
    %assign PROMPT_BYTES %0 > 3         ; a byte for each token: 4 bytes of code for 1 + n of data
    %rep %0
      %if (%1) < VOCAB_SIZE - 255
        %assign PROMPT_BYTES 0          ; no: a number is too low
      %endif
      %if (%1) > 8192
        %error "the prompt has a token above 8192"
      %endif
      %rotate 1
    %endrep
  %endmacro
  PROMPT_SIZE PROMPT
%endif

SECTORS         equ     (PACKED_BYTES + 511) / 512
%if 0x7e00 + (PACKED_BYTES + 511) / 512 * 512 > 0x9fc00
  %error "the packed model is larger than the memory from 7E00h to 9FC00h"
%endif

; The walk ends at a power of two, such that bit BIT of its addresses changes there.
%if WALK_BYTES != WORKSPACE_BYTES
  %error "tools/common/layout.py counts another walk"
%endif
%assign BIT 20
%rep 11
  %if (1 << BIT) < WALK_BYTES
    %assign BIT BIT + 1
  %endif
%endrep
%assign WALK_END 1 << BIT
%if WALK_END - WALK_BYTES < 0x110000
  %assign WALK_END 3 << BIT
%endif
WALK            equ     WALK_END - WALK_BYTES

; @header and boot: an honest machine state
                org     0x7c00
                bits    16
                xor     bx, bx
                mov     ss, bx
                mov     sp, 0x7000              ; below the page of this sector: a write into that page is slow
                mov     ds, bx
                cld
%ifdef CLEAR
                mov     ax, 3                   ; 80 x 25 cells of text, blank @output
                int     0x10                    ; @output
%endif
%ifdef READ_ERROR
                mov     ax, 0x2401
                int     0x15                    ; A20 on
%endif
; model @loading
                mov     cx, SECTORS             ; from the last to the first: cx is the sector's number too (saves 5)
.read:
                imul    di, cx, byte 0x20       ; sector n goes to address 7C00h + 200h * n            (saves 1)
                push    bx                      ; the disk packet, from its end: sector number, 8 bytes
                push    bx
                push    bx
                push    cx
                push    di                      ; segment
                push    word 0x7c00             ; offset
                push    byte 1                  ; sectors: one at a time, which every BIOS can
                push    byte 16                 ; size of the packet
                mov     si, sp
                mov     ah, 0x42
                int     0x13                    ; dl is still the boot drive
%ifdef READ_ERROR
                jc      .read_all               ; the story is then a message
%endif
                loop    .read

%ifdef READ_ERROR
.read_all:                                      ; nothing from here to sbb changes the carry
%else
                mov     ax, 0x2401              ; @header
                int     0x15                    ; A20 on @header
%endif
; protected mode @header
                cli
                lgdt    [gdt - 2]
                inc     FLAT
                lmsw    FLAT                    ; protected mode; EM, TS = 0: the FPU is on     (saves 4)
                jmp     8:protected

                bits    32
protected:
%ifdef READ_ERROR
                mov     bl, 16
%else
                mov     cl, 16
%endif
                mov     ds, SELECTOR
                mov     es, SELECTOR
                mov     ss, SELECTOR
                mov     esp, WALK
                fninit                          ; the FPU's state at reset is another one
                fld1                            ; the 1.0 for ever @swiglu
%ifdef READ_ERROR
                sbb     eax, eax                ; 0, or -1 when a sector could not be read @loading
%else
                xor     eax, eax
%endif
; the walk @loop
                mov     ecx, WALK_BYTES / 4 + 1
                mov     edi, esp
                rep stosd                       ; the walk must be zero
                mov     SLOT, esp
                mov     ebp, rows               ; @matmul
                push    dword 0xb8000           ; where the next character goes: always on top of the stack @output
%ifdef READ_ERROR
; the message @loading
                inc     eax                     ; 1, or 0 after an error
                jnz     .story
                pop     edi                     ; to the screen
                lea     esi, [ebp + message - rows] ; (a short offset: saves 2)
                mov     cl, MESSAGE_BYTES       ; ecx is 0 after stosd; at least as many columns are left: bl = 16
  %ifndef LINE_BREAKS
                or      ebx, byte -1            ; a slot behind the end of the walk
  %endif
                jmp     short token.text        ; the slot is then -1, from the walk: behind its end
.story:
%endif
%ifdef PROMPT
                push    ebp                     ; place in the prompt - prompt + rows: in a register already (saves 3) @argmax
%endif
%ifdef LINE_BREAKS
                push    byte 80                 ; cells that are left in the row; these two are on top, if there @output
%endif
; @embedding
                mov     esi, bos                ; the story begins with the embedding of BOS

; token: one forward pass. in esi = embedding - 4, SLOT = slot written last.
token:
                mov     OTHER, SLOT
                push    DIM + 1            ; one more, from before: the embedding lands at ebx + 4
                pop     ecx
.copy:
                movsd                           ; 32 bits, of which the upper 16 are this weight
                dec     esi
                dec     esi
                loop    .copy
                mov     esi, model - 2          ; @loading
; the layers @loop
                SETC    N_LAYERS
.again:
                push    ecx
                call    layer
                pop     ecx
                loop    .again
                SETC    VOCAB_SIZE              ; @matmul
                call    ebp                     ; logits; edx = the slot of the best @matmul
                sub     edx, edi                ; -4 * token, as the last slot is token 0 @argmax
%ifdef LINE_BREAKS
                pop     ebx                     ; columns left @output
%endif
%ifdef PROMPT
; the prompt's token instead of the best @argmax
                pop     eax
  %if PROMPT_BYTES
                movzx   ecx, byte [eax + prompt - rows] ; vocab_size - the prompt's next token, or 0 at its end
                jecxz   .free
                inc     eax
                lea     edx, [4 * ecx - 4 * VOCAB_SIZE] ; whatever the logits say
  %else
                movsx   ecx, word [eax + prompt - rows] ; -4 * the prompt's next token, or 0 at its end
                jecxz   .free
                inc     eax
                inc     eax
                mov     edx, ecx                ; whatever the logits say
  %endif
.free:
%endif
; the token's record @embedding
%ifdef LINE_BREAKS
                xchg    edi, [esp]              ; the slot changes places with the screen @output
%endif
%ifdef PROMPT
                push    eax                     ; @argmax
%endif
                imul    edx, edx, -(RECORD_BYTES / 4)
                add     esi, edx                ; records stand where the classifier ends
                lodsw                           ; from "two bytes early" to the record
; its text @output
                lodsd
                xchg    eax, ecx                ; length of the text
                jecxz   .halt                   ; BOS: the end @loop
%ifndef LINE_BREAKS
                mov     ebx, edi
  %ifdef PROMPT
                xchg    edi, [esp + 4]
  %else
                pop     edi                     ; screen
  %endif
%endif
.text:                                          ; ecx bytes at esi go to edi; ebx = columns left
                push    esi
.print:
%ifdef SERIAL
                mov     dx, 0x3fd               ; every time, for edx has nothing to keep
.busy:
                in      al, dx                  ; line status; without a COM1 all bits are set
                test    al, 0x20
                jz      .busy                   ; until the transmitter takes another byte
                mov     dl, 0xf8
                lodsb
                out     dx, al                  ; to COM1, as it is
%endif
%ifdef LINE_BREAKS
  %ifndef SERIAL
                lodsb
  %endif
                cmp     al, 10                  ; a line feed is not shown: it ends the row
                je      .row
                stosb
                inc     edi                     ; keeps the colour
                dec     ebx
                jnz     .cell
.row:
                lea     edi, [edi + 2 * ebx]    ; over what is left of the row
                mov     bl, 80                  ; a new row; ebx was 0 to 80
.cell:
%else
  %ifdef SERIAL
                stosb
  %else
                movsb
  %endif
                inc     edi                     ; keeps the colour
%endif
                loop    .print
                pop     esi
%ifdef LINE_BREAKS
  %ifdef PROMPT
                xchg    edi, [esp + 4]
  %else
                xchg    edi, [esp]              ; and back
  %endif
                push    ebx
%else
  %ifdef PROMPT
                mov     [esp + 4], edi
  %else
                push    edi
  %endif
%endif
%if TEXT_BYTES == 12
                lodsd                           ; to the embedding - 4 @embedding
%elif TEXT_BYTES > 12
                add     esi, TEXT_BYTES - 8     ; @embedding
%endif
; on, or the end @loop
                bt      SLOT, BIT
                jnc     token                   ; until seq_len passes are made
.halt:
%ifdef MEASURE
                rdtsc
                mov     [0x500], eax
                mov     [0x504], edx
%endif
                hlt                             ; interrupts are off: for ever

                LAYER_CODE                      ; see transformer.inc
                ROWS_CODE
                RATIO_DATA
eps:            dd      EPSILON_BITS            ; dim * 1e-5; its last two bytes are the GDT's limit (saves 2) @rmsnorm
; GDT @header
gdt:            dw      gdt - 8                 ; GDT's address, 24 bits; also descriptor 1, code: limit (saves 4)
                db      0, 0, 0, 0x9b, 0xcf, 0  ;     base 0, accessed (so it is never written to), 32 bits
                db      0xff, 0xff, 0, 0, 0, 0x93, 0xcf, 0 ; descriptor 2, data: base 0, 4 GB, accessed
%ifdef PROMPT
; @argmax
prompt:
  %macro TOKENS 0-*
    %rep %0
      %if PROMPT_BYTES
                db      VOCAB_SIZE - (%1)
      %else
                dw      -4 * (%1)
      %endif
      %rotate 1
    %endrep
      %if PROMPT_BYTES
                db      0
      %else
                dw      0
      %endif
  %endmacro
                TOKENS  PROMPT
%endif
%ifdef READ_ERROR
; @loading
message:        db      "Disk error"
MESSAGE_BYTES   equ     $ - message
%if MESSAGE_BYTES > 16
  %error "the message is longer than the columns that are counted for it"
%endif
%endif
; signature @header
code_end:
                times   510 - ($ - $$) db 0
                db      0x55, 0xaa
model:
                incbin  "model.packed"
image_end:
                align   512, db 0
padding         equ     (510 - (code_end - $$)) + ($ - image_end) ; free: never read, never executed
bos             equ     model + RECORDS_OFFSET + RECORD_BYTES + TEXT_BYTES - 4
