; A story from one boot sector. The image is this sector, then the packed model.
;
; MEMORY MAP (physical addresses)
;     … 900Ah          stack, in protected mode too; before that the disk packet. Nothing is written into 7000h-7FFFh,
;                      the page of this sector: that would be slow.
;     7C00h            this sector
;     LOAD = 9000h     a copy of it, read from the disk: its last two bytes, 55 AA, stand before the first weight
;     9200h … 9FC00h   the model: bf16, dense; read 32 bits at a time from two bytes before each weight
;     B8000h           screen: a byte of text goes to each cell as it is (a line feed is shown as the glyph 0Ah)
;     DS_BASE          1 MB and a little: the walk (see transformer.inc), WALK_BYTES and two slots more, the last not zero
;
; With BIG, for models that this map does not hold, see boot-big.inc: the model is above 1 MB, and the walk above the model.
;
; SEGMENTS (see boot.inc). CS and SS have base 0 (SS is what real mode left: 64 KB). DS and ES have base DS_BASE, so that
; the walk begins at address 0; the model, the screen and this sector are at addresses below 4 GB, which wrap around.
;
; A record is: the length of the text, three zero bytes, the text padded with zeros to a multiple of 4, the bf16
; embedding. The length of BOS is 0.
;
; FEATURES, which asm-boot-full has and asm-boot has not (see engines.json);
; `llama512 size --features` says what each costs:
;
;     LINE_BREAKS   a line feed goes to the next row
;     SERIAL        the text goes to COM1 as well; a line feed stays one
;     CLEAR         the screen is cleared before the story
;     PROMPT        the story begins with the tokens of `prompt`: PROMPT is the list of their numbers, 1 or 2 bytes each
;     READ_ERROR    a message when a sector cannot be read
;
; what either engine has where it is asked for:
;
;     PARTITION     an entry of the partition table: see partition.inc. All else must end before it, at 1BEh
;     TEMPERATURE   the story is drawn, by the exponential race of transformer.inc
;     CLOCK         with it: the generator begins with the BIOS's clock, so every story is another one
;
; and what a build adds where the model needs it:
;
;     BIG           the model is read in chunks, and moved above 1 MB
;     MEMORY_ERROR  the message of READ_ERROR says so, too, when there is no memory where the walk is to end
;
; Needs a 486 with FPU, and a BIOS with INT 13h extensions. `llama512 build` assembles it.

[map symbols engine.map]                ; the build reads `padding` from it
%include "model.inc"
%include WEIGHTS
%define EPS     [ebp + eps - rows]      ; ebp means SS
%define MINUS_ONE [ebp + gdt_limit - rows]
%ifndef NO_FAST                         ; for the price list
  %define FAST
%endif
%include "transformer.inc"
%include "boot.inc"
%ifdef PARTITION
  %include "partition.inc"
%endif
%if WALK_BYTES + 8 != WORKSPACE_BYTES
  %error "tools/common/pack counts another walk"
%endif

%ifdef LINE_BREAKS
  %define SLOT  edi                     ; where the slot written last is between two passes
  %define OTHER ebx
%else
  %define SLOT  ebx
  %define OTHER edi
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
  %macro FIRST 1-*
    %define MESSAGE_BIAS (%1) * RECORD_BYTES ; what FIND_RECORD adds
  %endmacro
  FIRST PROMPT
%else
  %define MESSAGE_BIAS 0
%endif

%macro FIND_RECORD 0        ; edx = -4 * token, esi = EARLY bytes before the records; records stand where the classifier ends
%ifdef TEMPERATURE
                imul    edx, edx, RECORD_BYTES / 4 ; edx stays below the next slot: no race in the layers @embedding
                sub     esi, edx                ; @embedding
%else
                imul    edx, edx, -(RECORD_BYTES / 4) ; @embedding
                add     esi, edx                ; @embedding
%endif
%endmacro

; With TEMPERATURE edx is to be no more than the address of x's slot when the layers begin. FIND_RECORD leaves -RECORD_BYTES * token
; there, 0 at most; but text output may change it, to a place in the prompt, or to COM1's port, which a short position is not above.
%ifdef TEMPERATURE
  %ifdef PROMPT
    %ifdef LINE_BREAKS
      %define CLEAR_EDX
    %endif
  %endif
  %ifdef SERIAL
    %if STRIDE <= 0x3f8
      %define CLEAR_EDX
    %endif
  %endif
%endif

%if RECORD_BYTES % 4
  %error "a record must be whole words"
%endif

; The start @header
%ifdef BIG
                BIG_FLAT_MODE_CODE              ; see boot-big.inc
%else
                FLAT_MODE_CODE                  ; see boot.inc
%endif
                fld1                            ; the 1.0 for ever @swiglu
%ifdef READ_ERROR
                sbb     eax, eax                ; 0, or -1 when a sector could not be read @loading
%elifdef BIG
                xchg    eax, ecx                ; 0, which ecx is
%elifdef TEMPERATURE
                xor     edi, edi                ; @loop
                mul     edi                     ; eax = edx = 0                                        (saves 1) @loop
  %define EDI_IS_ZERO
%else
                xor     eax, eax
%endif
%ifdef TEMPERATURE
  %ifndef EDI_IS_ZERO
                cdq                             ; 0 or -1: no race in the first layer @sampling
  %endif
%endif
%ifdef BIG                                      ; edi is 0 already; or below, after an error @loop
  %ifdef READ_ERROR
    %ifndef MEMORY_ERROR
      %define START_ON_STACK
                push    edi                     ; @loading
    %endif
  %elifdef MEMORY_ERROR
    %error "MEMORY_ERROR has its message from READ_ERROR: leave out both, or neither"
  %endif
%elifdef READ_ERROR
                push    byte 0
                pop     edi
%elifndef EDI_IS_ZERO
                xor     edi, edi
%endif
; the walk @loop
                mov     ecx, WALK_BYTES / 4 + 1
                rep stosd                       ; the walk must be zero; what comes behind it must not:
%ifdef MEMORY_ERROR
                mov     [edi], edi
                add     eax, edi                ; edi, or 1 less @loading
                cmp     [edi], eax              ; no longer equal: no disk, or no memory; the flag stays until jne @loading
%elifdef START_ON_STACK
                mov     [edi], edi
                pop     SLOT                    ; 0; after an error a place in a walk of -1 @loading
%elifdef LINE_BREAKS
                mov     [edi], edi
                xchg    eax, edi                ; SLOT = 0
%else
                xchg    eax, ebx                ; SLOT = 0
                stosd                           ; eax is ebx, and bx is not 0
%endif
                mov     ebp, rows               ; @matmul
%ifdef TEMPERATURE
                fld     dword [ebp + RACE - rows] ; the race's generator @sampling
%endif
                push    dword 0xb8000 - DS_BASE ; where the next character goes: on the stack @output
%ifdef PROMPT
                push    ebp                     ; place in the prompt - prompt + rows: in a register already (saves 3) @argmax
%endif
%ifdef LINE_BREAKS
                push    byte 80                 ; cells that are left in the row @output
%endif
%ifdef READ_ERROR
; After an error the walk is -1 everywhere, so the story ends with its first record: the message. @loading
                mov     esi, message - DS_BASE - EARLY - MESSAGE_BIAS
  %ifdef MEMORY_ERROR
; There, the message itself is the slot behind which all is not zero. @loading
    %ifdef PROMPT
                lea     edi, [esi + MESSAGE_BIAS]
    %else
                mov     edi, esi
    %endif
                jne     token.message
                mov     SLOT, ecx               ; 0 @loop
  %else
    %ifndef LINE_BREAKS
                mov     edi, ebx                ; the slot -1 (for BIG another one) in a walk of -1 @loading
    %endif
                jc      token.message           ; @loading
  %endif
%endif
                mov     esi, bos                ; the story begins with the embedding of BOS @embedding

; token: one forward pass. in esi = embedding - 4, SLOT = slot written last.
token:
%ifdef ADD_EMBEDDING                            ; in esi = embedding
  %ifdef LINE_BREAKS
                mov     ebx, edi
                add     edi, 4 * DIM
  %else
                lea     edi, [ebx + 4 * DIM]
  %endif
                mov     [ebx], cl               ; where a weight is put into the byte above: a zero; x comes behind it, and is 0
                ONE_TO_SLOT                     ; a row that is added once
                inc     ecx
                call    ebp
%else
                mov     OTHER, SLOT
                push    DIM + 1            ; one more, from before: the embedding lands at ebx + 4
                pop     ecx
                COPY_EMBEDDING
%endif
                mov     esi, loaded - EARLY     ; @loading
; the layers @loop
                SETC    N_LAYERS
.again:
                push    ecx
                call    layer
                pop     ecx
                loop    .again
                SETC    VOCAB_SIZE              ; @matmul
%ifdef TEMPERATURE
                lea     edx, [edi + 4]          ; the first slot: a race @argmax
%endif
                call    ebp                     ; logits; edx = the slot of the best @matmul
                sub     edx, edi                ; -4 * token, as the last slot is token 0 @argmax
%ifdef PROMPT
.message:
%else
                FIND_RECORD
.message:
%endif
%ifdef LINE_BREAKS
                pop     ebx                     ; columns left @output
%endif
%ifdef PROMPT
; the prompt's token instead of the best @argmax
                pop     eax
  %if PROMPT_BYTES
                movzx   ecx, byte [ss:eax + prompt - rows] ; vocab_size - the prompt's next token, or 0 at its end
                jecxz   .free
                inc     eax
                lea     edx, [4 * ecx - 4 * VOCAB_SIZE] ; whatever the logits say
  %else
                movsx   ecx, word [ss:eax + prompt - rows] ; -4 * the prompt's next token, or 0 at its end
                jecxz   .free
                inc     eax
                inc     eax
                mov     edx, ecx                ; whatever the logits say
  %endif
.free:
                FIND_RECORD
%endif
; the slot changes places with the screen @output
%ifdef PROMPT
                pop     ecx
  %ifdef LINE_BREAKS
                push    edi
  %else
                mov     ebx, edi
  %endif
                push    eax                     ; place in the prompt @argmax
                mov     edi, ecx
%elifdef LINE_BREAKS
                pop     eax                     ; (xchg edi, [esp] would need an esp below 64 KB)
                push    edi
                xchg    eax, edi
%else
                mov     ebx, edi
                pop     edi
%endif
%if EARLY == 2
                lodsw                           ; from "two bytes early" to the record @embedding
%endif
; its text @output
                lodsd
                xchg    eax, ecx                ; length of the text
                jecxz   .halt                   ; BOS: the end @loop
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
; and back @output
%ifdef LINE_BREAKS
  %ifdef PROMPT
                pop     edx
                pop     eax
                push    edi
                push    edx
  %else
                pop     eax
                push    edi
  %endif
                xchg    eax, edi
                push    ebx
  %ifdef CLEAR_EDX
                cdq                             ; eax is a place on the screen, below 0: no race in the layers @sampling
  %endif
%elifdef PROMPT
                pop     eax
                push    edi
                push    eax
%else
                push    edi
%endif
%ifdef CLEAR_EDX
  %ifndef LINE_BREAKS
                xor     edx, edx                ; no race in the layers @sampling
  %endif
%endif
                TO_EMBEDDING                    ; @embedding
; on, or the end @loop
                cmp     [SLOT + 4], ecx         ; the next slot is zero
                je      token                   ; until seq_len passes are made                 (saves 2)
.halt:
                hlt                             ; interrupts are off: for ever

                LAYER_CODE                      ; see transformer.inc
                ROWS_CODE
%if !ROPE_RATIO_WHOLE
                RATIO_DATA
%endif
eps:            dd      EPSILON_BITS            ; dim * rms_epsilon; its last two bytes are the GDT's limit (saves 2) @rmsnorm
                GDT_DATA
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
message:        dd      MESSAGE_BYTES           ; a record without embedding
%ifdef MEMORY_ERROR
.text:          db      "Disk error/low RAM"
%else
.text:          db      "Disk error"
%endif
MESSAGE_BYTES   equ     $ - .text
%endif
code_end:
%ifdef PARTITION
                times   PARTITION_PLACE - ($ - $$) db 0
                PARTITION_DATA
table_end:
  %define TABLE_BYTES (table_end - $$ - PARTITION_PLACE)
%else
  %define TABLE_BYTES 0
%endif
; signature @header
                times   510 - ($ - $$) db 0
                db      0x55, 0xaa
model:
                incbin  "model.packed"
image_end:
                times   IMAGE_BYTES - ($ - $$) db 0
padding         equ     (510 - (code_end - $$) - TABLE_BYTES) + ($ - image_end) ; free: never executed, read at most by firmware
bos             equ     loaded + RECORDS_OFFSET + RECORD_BYTES + TEXT_BYTES - BEFORE_EMBEDDING
