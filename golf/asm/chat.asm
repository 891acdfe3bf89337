; A conversation from two boot sectors. The image is these, then the packed model.
;
; The PC shows `>`. What is typed there, on the keyboard or over COM1, is what a story begins with; Enter starts it. It streams to
; the screen and to COM1; any key stops it. Then there is `>` again. An empty line starts a story from BOS.
;
; MEMORY MAP (physical addresses)
;     … 5100h           stack: at the prompt a few words; then the prompt's tokens, a pair of dwords each. Up to 4 KB above it
;                       may be moved about (see spell)
;     7C00h … 7FFFh     both sectors. Nothing is written there after they are loaded (but by CLOCK): that would be slow
;     7E00h … FDFFh     while loading: a chunk, which is what one call of the BIOS reads. Chunk 0 is read last: it begins with
;                       sector 1, which so is where it runs
;     … 100FEh          the line that is typed
;     1 MB …            the image from its sector 1 on, so that the end of sector 1 stands before the first weight
;     WALK              the walk (see transformer.inc): it begins with the last four bytes of the image, which are padding
;
; SEGMENTS. All have base 100h, labels are offsets in it. 10h, which is the data segment's selector in protected mode, is in real
; mode the segment with this base. So ss, ds and es need no other value on the way to the BIOS and back, whatever it saves or
; loads; ds and es are loaded again after it, for it may take their limit. ss has the 64 KB of real mode, always.
;
; MODES. Keys, text and the disk are the BIOS's: their code is 16-bit code in real mode. Encoding and model are 32-bit code in
; protected mode. protected_mode and real_mode are called in the one, and return in the other, behind the call. Registers that
; are to last are saved around BIOS calls (some destroy bp), but for those that a call itself needs.
;
; A record is that of boot.asm: the length of the text, three zero bytes, the text, the embedding. There are no scores: the packer has
; proved that tokens are in their order (tools/common/pack/spelling.py).
;
; FEATURES
;
;     SERIAL        COM1 as well as keyboard and screen: 9600 bits a second, 8 bits, no parity
;     CLEAR         the screen is cleared at first
;     READ_ERROR    a message when a sector cannot be read, or when memory ends before the walk does
;
; and where it is asked for
;
;     PARTITION     an entry of the partition table: see partition.inc. Sector 0 ends before it, at 1BEh, so that the model's layers
;                   and the line's editor change places: 4 bytes more than the entry
;     TEMPERATURE   the story is drawn, by the exponential race of reference/race.hpp
;     TOP_P         with it: from the nucleus
;     CLOCK         with it: the generator begins with the BIOS's clock, so every story is another one
;
; Needs a 486 with FPU, and a BIOS with INT 13h extensions. `llama512 build` assembles it.

[map symbols engine.map]                ; the build reads `padding` and `code_sectors` from it, tests free_N
%include "model.inc"
%include WEIGHTS
%define EPS       [ebp + eps - rows]    ; ebp means SS
%define BEGIN     [ebp + walk - rows]   ; an operand of start                                          (saves 3)
%define MINUS_ONE [ebp + code16 - rows] ; a limit of 64 KB
%ifdef TEMPERATURE
  %define DRAWN_LATER
%endif
%ifndef NO_FAST                         ; for the price list
  %define FAST
%endif
%include "transformer.inc"
%ifdef PARTITION
  %include "partition.inc"
%endif

BASE            equ     0x100           ; of all segments
STACK           equ     0x5000
%assign MOST_TYPED SEQ_LEN - 2          ; bytes: with BOS and the space no more tokens than there are positions
%if MOST_TYPED > 400
  %assign MOST_TYPED 400
%elif MOST_TYPED < 0
  %assign MOST_TYPED 0
%endif
TEXT            equ     0xffff - 1 - MOST_TYPED ; a space, then what is typed, up to FFFEh: `cmp di, -1` asks for the end  (saves 1)

%assign CHUNK       64                  ; sectors
%assign BEHIND      4                   ; zeros behind the model, which end the records
%ifdef ADD_EMBEDDING
  %assign BEHIND    4 + RECORD_BYTES    ; a record behind the step
%endif
%assign CHUNKS      (1 + (PACKED_BYTES + BEHIND + 4 + 511) / 512 + CHUNK - 1) / CHUNK
%assign LAST        1 + CHUNK * (CHUNKS - 1) ; the last chunk's first sector
%assign IMAGE_BYTES 512 + 512 * CHUNK * CHUNKS
%assign BUFFER      0x7e00 - BASE
%assign MODEL       0x100000 + 512 - BASE
%assign RECORDS     MODEL + RECORDS_OFFSET
%assign WALK        0x100000 + 512 * CHUNK * CHUNKS - 4 - BASE
bos             equ     RECORDS + RECORD_BYTES + TEXT_BYTES - BEFORE_EMBEDDING
%if WALK_BYTES + 8 != WORKSPACE_BYTES
  %error "tools/common/pack counts another walk"
%endif
%if RECORD_BYTES % 4
  %error "a record must be whole words"
%endif

%define NIBBLE(x) (((x) ^ (x) >> 4) & 15)
%define ODD(x)    (0x6996 >> NIBBLE(x) & 1) ; whether its lowest byte has an odd number of ones

; ---------------------------------------------------------------------------------------------------------------
; TYPE_CODE: the prompt, the line, a story's beginning. real mode
; ---------------------------------------------------------------------------------------------------------------
%macro TYPE_CODE 0
; @input
story:
                mov     sp, STACK               ; whatever was on the stack: a story may have been stopped
                call    newline
                mov     edi, TEXT               ; all of it, for protected mode
                mov     al, ' '                 ; a text begins with a space @tokenizer
                stosb                           ; @tokenizer
                mov     esi, edi                ; where it is empty
                mov     al, '>'
.echo:
                call    putc
.key:
                call    poll
                jz      .key
                cmp     al, 13                  ; Enter
                je      .enter
                cmp     al, 8                   ; Backspace
                je      .back
                cmp     al, 127                 ; what most terminals send for it
                je      .back
                cmp     al, ' '                 ; function keys and all that is no text
                jb      .key
                cmp     di, byte -1             ; the line is full
                je      .key
                stosb
                jmp     short .echo
.back:
                cmp     di, si
                jbe     .key
.character:                                     ; to its first byte (or, of bytes that are no text, as far as the space)
                dec     di
                cmp     byte [di], 0xc0 - 256
                jl      .character
                mov     al, 8
                call    putc
                mov     al, ' '
                call    putc
                mov     al, 8
                jmp     short .echo
.enter:
%ifdef CLOCK
                mov     ax, [0x46c - BASE]      ; ticks, 18.2 in a second @sampling
                mov     [RACE + 1], ax          ; the lowest byte stays: the state is odd whatever the time is @sampling
%endif
                call    newline
%endmacro

; ---------------------------------------------------------------------------------------------------------------
; POLL_CODE: poll, whether a byte was typed. real mode
;   out    zero flag: nothing; else al = the byte
;   clobbers ah, dx
; ---------------------------------------------------------------------------------------------------------------
%macro POLL_CODE 0
; @input
poll:
%ifdef SERIAL
                mov     dx, 0x3fd               ; line status
                in      al, dx
                and     al, 0x81                ; a byte is there; without a COM1 all bits are set
                dec     al
                jnz     .keyboard
                mov     dl, 0xf8
                in      al, dx
                inc     dx                      ; no zero flag
                ret
.keyboard:
%endif
                mov     ah, 1                   ; is there a key?
                int     0x16
                jz      .none
                mov     ah, 0                   ; take it; the flags come back as they were
                int     0x16
.none:
                ret
%endmacro

; ===============================================================================================================
; Sector 0: all that is needed to load the others, and the model's code.
; ===============================================================================================================
; @header
                org     0x7c00 - BASE
                bits    16
                jmp     BASE / 16:start         ; cs as well, whatever it was

; ---------------------------------------------------------------------------------------------------------------
; putc: a byte to screen and COM1. newline: a line feed. real mode
;   in     al; bx = 11h
;   clobbers ax, dx
; ---------------------------------------------------------------------------------------------------------------
; @output
newline:
                mov     al, 10
putc:
                cmp     al, 10
                jne     .one
                mov     al, 13                  ; a line feed as CR LF
                call    .one
                mov     al, 10
.one:
%ifdef SERIAL
                push    ax
                mov     dx, 0x3fd               ; line status
.busy:
                in      al, dx                  ; without a COM1 all bits are set
                test    al, 0x20
                jz      .busy                   ; until the transmitter takes another byte
                pop     ax
                mov     dl, 0xf8
                out     dx, al
%endif
                mov     ah, 0x0e                ; teletype, page bh = 0: wraps, scrolls, and knows CR, LF and BS
                int     0x10
                ret

; ---------------------------------------------------------------------------------------------------------------
; protected_mode: called in real mode, returns in protected mode, behind the call.
;   in     bx = 11h
;   out    ds and es with 4 GB, interrupts off; ebx is changed, carry is not
; real_mode: the other way.
;   in     ecx = 0
;   out    interrupts on, bx = 11h; flags are not changed
; ---------------------------------------------------------------------------------------------------------------
; @header
protected_mode:
                cli
                lgdt    [gdt - 2]
                lmsw    bx                      ; protected mode; EM, TS = 0: the FPU is on             (saves 4)
                jmp     8:.in
                bits    32
.in:
                dec     ebx                     ; bx = 10h
                mov     ds, ebx
                mov     es, ebx
                o16 ret

real_mode:
                jmp     0x18:.out               ; instructions are to be of 16 bits before
                bits    16
.out:
                mov     cr0, ecx                ; caches are on, the FPU is, and there is no paging: all bits 0
                jmp     BASE / 16:.in
.in:
                mov     bx, 0x11
                sti
                o32 ret

%ifdef READ_ERROR
; ---------------------------------------------------------------------------------------------------------------
; error: says it, and halts. real mode, ch = 0
; ---------------------------------------------------------------------------------------------------------------
; @loading
error:
                mov     si, .message
                mov     cl, .end - .message
.next:
                lodsb
                call    putc
                loop    .next
                cli
                hlt
.message:
                db      "Disk/RAM error"
.end:
%endif

%ifdef PARTITION
                POLL_CODE
%else
before          equ     $ - $$
gap             equ     510 - before - (load_end - layer)
free_1          equ     before
                times   gap db 0
free_1_end      equ     $ - $$
                bits    32
                LAYER_CODE                      ; see transformer.inc
%endif
                bits    32
                ROWS_CODE

%if !ROPE_RATIO_WHOLE
                RATIO_DATA
%endif
; GDTR is the two bytes before gdt (the limit) and its first four (the address, 24 bits): lgdt [gdt - 2].
eps:            dd      EPSILON_BITS            ; dim * rms_epsilon; its last two bytes are the GDT's limit (saves 2) @rmsnorm
; GDT @header
gdt:            dw      gdt - 8 + BASE          ; GDT's address; also descriptor 8, code of 32 bits: limit (saves 4)
                db      0, BASE >> 8, 0, 0x9b, 0xcf, 0 ; accessed, so it is never written to
lowest          equ     $ - 5                   ; 01 00 9B CF as a float, -5e9: below all that a race may have
%if ROPE_RATIO_WHOLE
                RATIO_DATA                      ; descriptor 10h, data: the low half of a limit of F000h pages and more (saves 2)
%else
                dw      0xffff
%endif
                db      0, BASE >> 8, 0, 0x93, 0x8f, 0
code16:         dw      0xffff                  ; descriptor 18h, code of 16 bits
                db      0, BASE >> 8, 0, 0x9b, 0x0f, 0
%ifdef TOP_P
top_p:          dd      TOP_P_BITS              ; @sampling
%endif

; ---------------------------------------------------------------------------------------------------------------
; start: an honest machine state; then the image goes above 1 MB, from the last chunk to the first one.
;   in     dl = boot drive
; ---------------------------------------------------------------------------------------------------------------
                bits    16
start:
                mov     edi, strict dword WALK  ; just behind the last dword that will be written              @loading
walk            equ     $ - 4
                mov     bx, BASE / 16
                mov     ss, bx                  ; no interrupt comes before the next instruction is done
                mov     esp, STACK + 16
                mov     ds, bx
                cld
                mov     ax, 0x2401
                int     0x15                    ; A20 on
; model @loading
                xor     ecx, ecx                ; a zero to push, and the upper part of counts
                push    cx                      ; the disk packet, from its end: sector number, 8 bytes
                push    cx
%if LAST < 0x8000
                push    cx
                push    word LAST
%else
                push    dword LAST
%endif
                push    cx                      ; segment
                push    word BUFFER + BASE      ; offset
                push    byte CHUNK              ; sectors
                push    bx                      ; size of the packet: 16
                inc     bx
.read:
                mov     si, sp
                mov     ah, 0x42
                int     0x13                    ; dl is still the boot drive
%ifdef READ_ERROR
                jc      error
%endif
%if LAST < 0x8000
                sub     word [si + 8], byte CHUNK ; the chunk before; carry: there is none, and this was sector 1 and what follows
%else
                sub     dword [si + 8], byte CHUNK
%endif
                call    protected_mode
                bits    32
                mov     esi, BUFFER + 512 * CHUNK - 4
                mov     ch, 512 * CHUNK / 4 >> 8
                std                             ; downwards, so that edi is then where the chunk before goes
                rep movsd
                cld
                call    real_mode
                bits    16
                jnc     .read
%ifdef CLEAR
; @output
                mov     ax, 3                   ; 80 x 25 cells of text, blank
                int     0x10
%endif
%ifdef SERIAL
; @header
                mov     ax, 0xe3
                cwd                             ; COM1
                int     0x14
%endif
load_end:
%ifdef PARTITION
                TYPE_CODE
                call    protected_mode
                bits    32
                jmp     spell
before          equ     $ - $$
gap             equ     PARTITION_PLACE - before
free_1          equ     before
                times   gap db 0
free_1_end      equ     $ - $$
                PARTITION_DATA
free_2          equ     $ - $$
                times   510 - free_2 db 0
free_2_end      equ     510
                db      0x55, 0xaa
%else
; The signature is executed: push bp; stosb, into memory that nobody uses (saves 3). @header
                db      0x55, 0xaa
%endif

; ===============================================================================================================
; Sector 1
; ===============================================================================================================
%ifndef PARTITION
                bits    16
                TYPE_CODE
                call    protected_mode
                bits    32
%endif

; ---------------------------------------------------------------------------------------------------------------
; spell: the text's tokens. Three steps, each of which is proved in spelling.py.
;   in     esi = TEXT + 1, edi = behind the text
;   out    on the stack: for each token where it begins in the text, and its record; then the text's end and 0
; A run of `.scan` goes through the records, and for each one through all places in the list where ebp + 1 tokens may have its
; text. If these are 2 or more, they become one, and the run begins again: so records that come first are best.
; ---------------------------------------------------------------------------------------------------------------
; @tokenizer
spell:
                cmp     edi, esi
                je      .empty
                dec     esi                     ; with the space
.empty:
                xor     eax, eax                ; no record yet; and what ends the list for runs of several tokens
%rep 2 * CHARACTER_BYTES - 3 + 2 * (CHARACTER_BYTES == 1)
                push    eax
%endrep
.build:                                         ; a token for each byte
                push    eax
                push    edi
                dec     edi
                cmp     edi, esi
                jae     .build
%if CHARACTER_BYTES > 1
  %assign CHARACTERS RECORDS + (FIRST_CHARACTER - 1) * RECORD_BYTES
  %assign PIECES     RECORDS + RECORD_BYTES
                mov     eax, CHARACTERS         ; first, characters of several bytes
                push    byte CHARACTER_BYTES - 1
%else
                push    byte 1
%endif
                pop     ebp
.scan:
%if CHARACTER_BYTES > 1
                mov     edx, eax
%else
                mov     edx, RECORDS + RECORD_BYTES ; before token 2
%endif
.record:
                add     edx, RECORD_BYTES
                mov     ebx, esp
                mov     ecx, [edx]              ; the length of its text; zeros behind the last one
                jecxz   .end
.pair:
                mov     edi, [ebx]              ; where the first token begins
                mov     ecx, [ebx + 8 * ebp + 8] ; and where the last one ends
                add     ebx, byte 8
                jecxz   .record                 ; there are fewer
                sub     ecx, edi
                cmp     [edx], ecx
                jne     .pair
                lea     esi, [edx + 4]
                repe cmpsb
                jne     .pair
                mov     [ebx - 4], edx          ; of one token the last record that fits: a character rather than a byte
                test    ebp, ebp
                jz      .pair
                mov     edi, ebx                ; the others go: all behind them moves down, and more; 4 KB are more than the list
                lea     esi, [ebx + 8 * ebp]
                mov     ch, 4
                rep movsd
                jmp     short .scan
.end:
                dec     ebp
                jns     .scan
%if CHARACTER_BYTES > 1
                inc     ebp                     ; then, with all records, two tokens, and one
                inc     ebp
  %if ODD(CHARACTERS ^ PIECES)          ; the parity flag, of the lowest byte, tells the two addresses apart  (saves 5)
                xor     eax, CHARACTERS ^ PIECES ; PIECES; in the end CHARACTERS again
    %if ODD(PIECES)
                jpo     .scan
    %else
                jpe     .scan
    %endif
  %else
                cmp     eax, PIECES
                mov     eax, PIECES
                jne     .scan
  %endif
%endif

; ---------------------------------------------------------------------------------------------------------------
; The story
; ---------------------------------------------------------------------------------------------------------------
; @loop
%if CHARACTER_BYTES > 1
                xor     eax, eax
%endif                                          ; otherwise it is still 0
                mov     ecx, WALK_BYTES / 4 + 1
                mov     ebp, rows               ; @matmul
                mov     edi, [ebp + walk - rows]
                push    edi
                rep stosd                       ; the walk must be zero; what comes behind it must not:
                mov     [edi], edi
%ifdef READ_ERROR
                cmp     [edi], edi              ; there is no memory: FFFFFFFFh, or 0, less edi is negative @loading
                jne     stop                    ; @loading
%endif
                pop     edi
                fninit                          ; the FPU's state at reset is another one
                fld1                            ; the 1.0 for ever @swiglu
%ifdef TEMPERATURE
                fld     dword [ebp + RACE - rows] ; the race's generator @sampling
%endif
                mov     esi, bos                ; @embedding

; token: one forward pass. in esi = embedding - 4, edi = slot written last.
token:
                mov     ebx, edi
%ifdef ADD_EMBEDDING                            ; in esi = embedding
                add     edi, 4 * DIM
                mov     [ebx], cl               ; where a weight is put into the byte above: a zero; x comes behind it, and is 0
                ONE_TO_SLOT                     ; a row that is added once
                inc     ecx
                call    ebp
%else
                push    DIM + 1                 ; one more, from before: the embedding lands at ebx + 4
                pop     ecx
                COPY_EMBEDDING
%endif
                mov     esi, MODEL - EARLY      ; @loading
; the layers @loop
                SETC    N_LAYERS
.again:
                push    ecx
                call    layer
                pop     ecx
                loop    .again
                SETC    VOCAB_SIZE              ; @matmul
%ifdef TEMPERATURE
                push    edi                     ; @sampling
%endif
                call    ebp                     ; logits; greedy: edx = the slot of the best @matmul
%ifdef TEMPERATURE
; ---------------------------------------------------------------------------------------------------------------
; A race over all tokens; with TOP_P another one, until the winner is in the nucleus.
;   in     edi = the last slot, token 0's; on the stack, the slot before the first one
;   out    edx = the winner's slot
; ---------------------------------------------------------------------------------------------------------------
; @sampling
                pop     ebx
draw:
                push    dword [ebp + lowest - rows] ; the best sum
                SETC    VOCAB_SIZE
.race:
                add     ebx, byte 4
                NOISE                           ;                                            | noise s 1
                fadd    dword [ebx]             ; the logit times log2(e) / temperature
                fcom    dword [esp]
                fnstsw  ax
                sahf
                jb      .behind
                fst     dword [esp]
                mov     edx, ebx
.behind:
                fstp    st0                     ;                                            | s 1
                loop    .race
                pop     eax
  %ifdef TOP_P
; Whether those above it, with logits above d = 0, have at most the part P of all: P sum(2^d) - sum(2^d, d > 0) >= 0.
                SETC    VOCAB_SIZE
                fldz                            ;                                            | rest s 1
.sum:
                fld     dword [ebx]             ; from the last slot back, to the one before the first
                fsub    dword [edx]
                ftst
                fnstsw  ax
                sahf                            ; until jbe: the FPU leaves flags alone
                fld1
                fld     st1
                fprem                           ;                                            | fraction 1 d rest s 1
                f2xm1
                faddp   st1
                fscale                          ; by the whole part of d
                fstp    st1                     ;                                            | 2^d rest s 1
                jbe     .not_above
                fsub    st1, st0
.not_above:
                fmul    dword [ebp + top_p - rows]
                faddp   st1
                sub     ebx, byte 4
                loop    .sum
                ftst
                fnstsw  ax
                sahf
                fstp    st0                     ;                                            | s 1
                jb      draw
  %endif
%endif
; its record @embedding
                sub     edx, edi                ; -4 * token, as the last slot is token 0 @argmax
                imul    edx, edx, -(RECORD_BYTES / 4)
                add     esi, edx                ; records stand where the classifier ends
%if EARLY == 2
                lodsw                           ; from "two bytes early" to the record
%endif
; or the prompt's next one @tokenizer
                mov     ecx, [esp + 4]
                jecxz   .text                   ; there is none
                pop     esi
                pop     esi
.text:
; its text @output
                lodsd
                xchg    eax, ecx                ; length of the text
                jecxz   stop                    ; BOS: the end @loop
                push    esi
.print:
                lodsb
                pushad
                xor     ecx, ecx
                call    real_mode
                bits    16
                call    putc
                call    poll
                jnz     stop.told               ; a key: the end
                call    protected_mode
                bits    32
                popad
                loop    .print
                pop     esi
                TO_EMBEDDING                    ; @embedding
; on, or the end @loop
                cmp     [edi + 4], ecx          ; the next slot is zero
                je      token                   ; until seq_len passes are made                         (saves 2)
stop:
                call    real_mode               ; ecx is 0
                bits    16
%ifdef READ_ERROR
                js      error                   ; only when there is no memory: a record's address, a slot's are positive @loading
%endif
.told:
                jmp     story

code_end:
%ifdef PARTITION
                bits    32
                LAYER_CODE
                jmp     ebp                     ; to rows
last_gap        equ     1022 - ($ - $$)
free_3          equ     $ - $$
                times   last_gap db 0
free_3_end      equ     $ - $$
; before the first weight @header
                db      0x16, 0xc3
%else
last_gap        equ     1024 - (code_end - $$) - (poll_end - poll)
free_3          equ     $ - $$
                times   last_gap db 0
free_3_end      equ     $ - $$
                POLL_CODE                       ; ends with what stands before the first weight: int 16h, ret  (saves 2)
poll_end:
%endif
model:
                incbin  "model.packed"
image_end:
                times   IMAGE_BYTES - ($ - $$) db 0
%ifdef PARTITION
gaps            equ     gap + 510 - free_2
%else
gaps            equ     gap
%endif
padding         equ     gaps + last_gap + ($ - image_end) ; free: never read as data, never executed
code_sectors    equ     2
