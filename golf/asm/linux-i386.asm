; A whole Linux program that tells a story; the model is in its own (only) segment.
;
; MEMORY MAP
;     200000h   ELF header, 52 bytes; its free bytes hold code and constants
;     200034h   this code: the loop over tokens, rows
;     …         the model: layers, classifier, records
;     …         this code: layer; with PROMPT the list of its tokens, which ends where the zeros begin
;     …         zero pages, never touched
;     WALK      the walk (see transformer.inc), up to WALK + WALK_BYTES; with ADD_EMBEDDING, x is as far below
;     … MEMSZ   the segment ends in the page after MEMSZ + 200034h, which is behind the walk
;
; With ADD_EMBEDDING a position's x is WALK_BYTES below its other numbers, and so below WALK. (x in the walk, and edi behind it, would
; be 3 bytes more.)
;
; The stack is where the kernel puts it, and grows by n_layers - 1 words a token.
;
; A record is: the length of the text + 1, three zero bytes, the text padded with zeros to a multiple of 4, the f32
; embedding. The record of BOS has no text.
;
; FEATURES, where a build is asked for them:
;
;     TEMPERATURE   the story is drawn, by the exponential race of transformer.inc
;     CLOCK         with it: the generator begins with the processor's counter of time, so every story is another one
;     PROMPT        the story begins with these tokens: PROMPT is the list of their numbers, 1 or 2 bytes each
;
; `llama512 build` assembles it.

                bits    32
%include "model.inc"
%include WEIGHTS
%define EPS     [ebp + eps - rows]
%define BEGIN   [ebp + walk - rows]
%define SMALLEST_STRIDE 256             ; see MEMSZ
%define READ_CODE
%ifdef ADD_EMBEDDING
  %define X_SLOTS 0                     ; they are apart
%endif
%ifndef NO_CPU686                       ; for the price list
  %define CPU686
%endif
%include "transformer.inc"
%ifdef ADD_EMBEDDING
  %define APART WALK_BYTES
%else
  %define APART 0
%endif
%if WALK_BYTES + APART != WORKSPACE_BYTES
  %error "tools/common/pack counts another walk"
%endif

; The five bytes of `mov edi, WALK` are also p_memsz (opcode and low three bytes of WALK) and the low byte of p_flags
; (WALK's high byte, of which the low three bits must be 1: read, write, execute). And p_memsz, taken as a number, is the
; address where the walk ends: less than 256 bytes before the end of the last position, so behind that of the one before.
;
;     WALK = (TOP << 24) + w,   MEMSZ = 256 w + OPCODE,   MEMSZ < WALK + WALK_BYTES
BASE            equ     0x200000
OPCODE          equ     0xbf
%assign TOP 7
%rep 15
  %if BASE + PACKED_BYTES + 0x1000 + APART > TOP << 24 ; a large model reaches further up
    %assign TOP TOP + 8
  %endif
%endrep
%assign W ((TOP << 24) + WALK_BYTES - 1 - 0xbf) / 255
%assign WALK (TOP << 24) + W
%assign MEMSZ 256 * W + 0xbf
%if BASE + PACKED_BYTES + 0x1000 + APART > WALK || MEMSZ > 0x7f000000
  %error "model and walk are too large for this engine's address space"
%endif
%if MEMSZ < WALK + WALK_BYTES - STRIDE || MEMSZ >= WALK + WALK_BYTES || MEMSZ + BASE < WALK + WALK_BYTES + 4
  %error "p_memsz does not tell where the walk ends"
%endif

%ifdef PROMPT
; The prompt's tokens stand behind the code, in bytes where they are less than 255 apart, and the code for it is not longer, or else in
; words. No terminator: behind the file memory is zero (saves 1 or 2).
;
;     PROMPT_PAGE    bytes: all are in one run of 256, and none is its first one: what the lowest one may be, less 1
;     PROMPT_TOP     bytes: what their distances are from, where they are not
  %macro PROMPT_SIZE 1-*
    %assign PROMPT_LOWEST %1
    %assign PROMPT_HIGHEST %1
    %rep %0
      %if (%1) < PROMPT_LOWEST
        %assign PROMPT_LOWEST %1
      %endif
      %if (%1) > PROMPT_HIGHEST
        %assign PROMPT_HIGHEST %1
      %endif
      %rotate 1
    %endrep
    %if PROMPT_HIGHEST - PROMPT_LOWEST < 255 && (PROMPT_HIGHEST < 256 || %0 > 2)
      %assign PROMPT_TOP PROMPT_HIGHEST + 1
      %assign PROMPT_PAGE PROMPT_HIGHEST & ~255
      %if PROMPT_LOWEST > PROMPT_PAGE && PROMPT_PAGE <= 252 * 64
        %define ONE_PAGE
      %endif
    %endif
    %if PROMPT_HIGHEST > 65535
      %error "the prompt has a token above 65535"
    %endif
  %endmacro
  PROMPT_SIZE PROMPT
  %macro TOKENS 1-*
    %rep %0
      %ifdef ONE_PAGE
                db      (%1) - PROMPT_PAGE
      %elifdef PROMPT_TOP
                db      PROMPT_TOP - (%1)
      %elif PROMPT_HIGHEST > 8192
                dw      %1
      %else
                dw      -4 * (%1)
      %endif
      %rotate 1
    %endrep
  %endmacro
%endif

; Whether the stack, 8 MB if nobody says otherwise, has space for the counters of all tokens.
%define LEAVE_COUNTERS (4 * N_LAYERS * SEQ_LEN <= 0x200000)

; ELF @header and program header; code where they are free
                org     BASE
                db      0x7f, "ELF", 1, 1, 1    ; e_ident: 32 bits, little-endian, version 1; 9 bytes are free:
start:
                mov     ebp, rows               ; @matmul
                fld1                            ; the 1.0 for ever @swiglu
                jmp     short set_walk          ; @loop
                dw      2, 3                    ; e_type = executable, e_machine = 386
eps:            dd      EPSILON_BITS            ; e_version is free: dim * rms_epsilon             (saves 1) @rmsnorm
                dd      start                   ; e_entry
                dd      0x20                    ; e_phoff: the program header begins in the middle of this one
                dd      1                       ; e_shoff                    p_type = load
                dd      0x34                    ; e_flags                    p_offset
                dw      0x34, 0x20              ; e_ehsize, e_phentsize      p_vaddr = 200034h
                dw      1                       ; e_phnum                    p_paddr, low half
%if ROPE_RATIO_WHOLE
                RATIO_DATA                      ; e_shentsize is free        p_paddr, high half     (saves 2)
%else
                dw      0                       ; @header
%endif
; @header
                dd      end - BASE - 0x34       ; e_shnum, e_shstrndx        p_filesz
; The start @loop
set_walk:
walk            equ     $ + 1
                mov     edi, WALK               ;                            p_memsz; p_flags from here on (saves 8)
                mov     esi, bos                ; the story begins with the embedding of BOS @embedding
%ifdef TEMPERATURE
%ifdef CLOCK
                rdtsc                           ; @sampling
                mov     [ebp + RACE + 1 - rows], ax ; two bytes of it; its lowest one stays odd @sampling
                cdq                             ; edx = 0 or -1: no race in the layers @sampling
%endif
                fld     dword [ebp + RACE - rows] ; the race's generator @sampling
%endif

; token: one forward pass, from the @embedding on. in esi = embedding - 4, edi = slot written last.
token:
%ifdef ADD_EMBEDDING                            ; in esi = embedding
                lea     ebx, [edi - APART]      ; x is 0 there, and so is the slot before it   (saves 3)
                ONE_TO_SLOT                     ; a row that is added once
                push    byte 1
                pop     ecx
                call    ebp
%else
                mov     ebx, edi
                push    DIM + 1                 ; one more, from the four bytes before it: the embedding lands at
                pop     ecx                     ; ebx + 4                                      (saves 1)
                COPY_EMBEDDING
%endif
                lea     esi, [ebp + model - rows] ; the model begins just behind rows          (saves 2) @loading
; the layers @loop
                SETC    N_LAYERS
.again:
                push    ecx
%if LEAVE_COUNTERS
                push    ecx                     ; stays on the stack, the last one until `write` takes it
%endif
                call    layer
                pop     ecx
                loop    .again
%if SLACK
                add     edi, 4 * SLACK
%endif
                SETC    VOCAB_SIZE              ; @matmul
%ifdef TEMPERATURE
                mov     edx, ebp                ; a race. No slot is the best yet, but this code, 51 D9 EE D9, is the float
                                                ; -8.4e15: no sum is below that (saves 1) @argmax
%endif
                call    ebp                     ; logits; edx = the slot of the best @matmul
                sub     edx, edi                ; -4 * token, as the last slot is token 0 @argmax
%ifdef PROMPT
; the prompt's token instead of the best. Its place is a number in this code, which is in writable memory: no register keeps
; one through a pass, and the stack grows (in a word of its own, with a list that ends in zeros, +3) @argmax
  %ifdef PROMPT_TOP
                mov     cl, [prompt]            ; the next token's byte, or 0 behind the last one
  %elif PROMPT_HIGHEST > 8192
                movzx   ecx, word [prompt]      ; the next token, or 0 behind the last one
  %else
                movsx   ecx, word [prompt]      ; -4 * the next token, or 0 behind the last one
  %endif
place           equ     $ - 4
                jecxz   .free
  %ifdef PROMPT_TOP
                inc     dword [ebp + place - rows]
  %else
                add     dword [ebp + place - rows], byte 2
  %endif
  %ifdef ONE_PAGE
                imul    edx, ecx, byte -4       ; whatever the logits say
    %if PROMPT_PAGE
                sub     dh, PROMPT_PAGE / 64    ; 4 * page; dh is FCh or more, so nothing is borrowed (saves 3)
    %endif
  %elifdef PROMPT_TOP
                lea     edx, [4 * ecx - 4 * PROMPT_TOP] ; whatever the logits say
  %elif PROMPT_HIGHEST > 8192
                imul    edx, ecx, byte -4       ; whatever the logits say
  %else
                mov     edx, ecx                ; whatever the logits say
  %endif
.free:
%endif
; the token's record @embedding
                imul    edx, edx, -(RECORD_BYTES / 4)
                add     esi, edx                ; records stand where the classifier ends      (saves 4)
; its text @output
                lodsd                           ; length + 1
                mov     ecx, esi                ; text
                xchg    eax, edx
                TO_EMBEDDING                    ; @embedding
                cmp     [ebp + set_walk - rows], edi ; CF: seq_len passes are made, as p_memsz is passed (saves 1) @loop
%if LENGTH_BIAS
                dec     edx                     ; ZF: this is BOS; CF stays                    (saves 1) @loop
%else
                inc     edx                     ; @loop
                dec     edx                     ; @loop
%endif
                push    byte 4
                pop     eax                     ; write
%if !LEAVE_COUNTERS
                push    byte 1
%endif
                pop     ebx                     ; standard output: 1, as the last layer's counter was (saves 1)
                int     0x80                    ; keeps the flags
; on, or the end @loop
                ja      token                   ; neither                                      (saves 3)
                xchg    eax, ebx                ; eax = 1: exit
                xor     ebx, ebx                ; status 0
                int     0x80

                ROWS_CODE                       ; here, such that short offsets from ebp reach the header (saves 7)
%if !ROPE_RATIO_WHOLE
                RATIO_DATA
%endif
model:
                incbin  "model.packed"
                LAYER_CODE
                jmp     ebp                     ; to rows @matmul
%ifdef PROMPT
; @argmax
prompt:
                TOKENS  PROMPT
%endif
end:
bos             equ     model + RECORDS_OFFSET + RECORD_BYTES + TEXT_BYTES - BEFORE_EMBEDDING
