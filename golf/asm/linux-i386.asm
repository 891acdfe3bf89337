; linux-i386.asm: a whole Linux program that tells a story; the model is in its own (only) segment.
;
; MEMORY MAP
;     200000h   ELF header, 52 bytes; its free bytes hold code and a constant
;     200034h   this code, then the model: layers, classifier, records
;     …         zero pages, never touched
;     WALK      the stack grows down from here, the walk (see transformer.inc) up
;
; A record is: the length of the text + 1, three zero bytes, the text padded with zeros to a multiple of 4, the f32
; embedding. The record of BOS has no text.
;
; `llama512 build` assembles it.

                bits    32
%include "config.inc"
%define ADVANCE lodsd
%define EPS     [eps]
%ifndef NO_CPU686                       ; for the price list
  %define CPU686
%endif
; The keys of position -1 must be below esp, which sinks by 4 bytes a token (see .again):
%define GAP     (DIM + 2 * HIDDEN_DIM + VOCAB_SIZE)
%if GAP < SEQ_LEN + 32
%define SLACK   (SEQ_LEN + 32 - GAP)
%endif
%include "transformer.inc"

; esp begins such that bit 16 of it changes when seq_len counters have been left on the stack. Its four bytes are
; also p_memsz (shifted by 8) and the low byte of p_flags (7: read, write, execute).
%assign UNIT 8
%rep 40
  %if UNIT * 0x1000000 < 0x07000000 + UNIT * 0x10000 + SEQ_LEN * STRIDE + 0x10000
    %assign UNIT UNIT + 2
  %endif
%endrep
%if UNIT > 126
  %error "the walk is too long for this engine's address space"
%endif
WALK            equ     0x07000000 + UNIT * 0x10000 + 4 * (SEQ_LEN - 1)
BASE            equ     0x200000

; ELF @header and program header; code where they are free
                org     BASE
                db      0x7f, "ELF", 1, 1, 1    ; e_ident: 32 bits, little-endian, version 1; 9 bytes are free:
start:
                mov     ebp, rows               ; @matmul
                fld1                            ; the 1.0 for ever @swiglu
                jmp     short set_stack         ; @loop
                dw      2, 3                    ; e_type = executable, e_machine = 386
eps:            dd      EPSILON_BITS                ; e_version is free: dim * 1e-5                (saves 1) @rmsnorm
                dd      start                   ; e_entry
                dd      0x20                    ; e_phoff: the program header begins in the middle of this one
                dd      1                       ; e_shoff                    p_type = load
                dd      0x34                    ; e_flags                    p_offset
                dw      0x34, 0x20              ; e_ehsize, e_phentsize      p_vaddr = 200034h
                dw      1, 0                    ; e_phnum, e_shentsize       p_paddr
                dd      end - BASE - 0x34       ; e_shnum, e_shstrndx        p_filesz
; The start @loop
set_stack:
                mov     esp, WALK               ;                            p_memsz; p_flags from here on (saves 8)
                mov     edi, esp
                mov     esi, bos                ; the story begins with the embedding of BOS @embedding

; token: one forward pass, from the @embedding on. in esi = embedding - 4, edi = slot written last.
token:
                mov     ebx, edi
                push    DIM + 1            ; one more, from the four bytes before it: the embedding lands at
                pop     ecx                     ; ebx + 4                                      (saves 1)
                rep movsd
                lea     esi, [ebp + model - rows] ; the model begins just behind rows          (saves 2) @loading
; the layers @loop
                push    byte N_LAYERS - 1       ; stays on the stack, as -1: esp counts tokens (saves the pop)
.again:
                call    layer
                dec     dword [esp]
                jns     .again
%if SLACK
                add     edi, 4 * SLACK
%endif
                SETC    VOCAB_SIZE              ; @matmul
                call    ebp                     ; logits; edx = the slot of the best @matmul
                sub     edx, edi                ; -4 * token, as the last slot is token 0 @argmax
; the token's record @embedding
                imul    edx, edx, -(RECORD_BYTES / 4)
                add     esi, edx                ; records stand where the classifier ends      (saves 4)
; its text @output
                lodsd                           ; length + 1
                mov     ecx, esi                ; text
                xchg    eax, edx
%if TEXT_BYTES == 12
                lodsd                           ; to the embedding - 4 @embedding
%elif TEXT_BYTES > 12
                add     esi, TEXT_BYTES - 8     ; @embedding
%endif
                bt      esp, 16                 ; CF: seq_len passes are made @loop
%if LENGTH_BIAS
                dec     edx                     ; ZF: this is BOS; CF stays                    (saves 1) @loop
%else
                inc     edx                     ; @loop
                dec     edx                     ; @loop
%endif
                push    byte 4
                pop     eax                     ; write
                push    byte 1
                pop     ebx                     ; standard output
                int     0x80                    ; keeps the flags
; on, or the end @loop
                ja      token                   ; neither                                      (saves 3)
                xchg    eax, ebx                ; eax = 1: exit
                xor     ebx, ebx                ; status 0
                int     0x80

                LAYER_AND_ROWS                  ; the transformer's layer, see transformer.inc
model:
                incbin  "model.packed"
bos             equ     model + RECORDS_OFFSET + RECORD_BYTES + TEXT_BYTES - 4
end:
