#include "textflag.h"

// Sixteen messages at a time: lane i of every vector belongs to message i. The
// state is in Z0 to Z7, the sixteen words of the message schedule in Z16 to Z31,
// of which the transposition leaves two in each four exchanged.

#define W0 Z16
#define W1 Z18
#define W2 Z17
#define W3 Z19
#define W4 Z20
#define W5 Z22
#define W6 Z21
#define W7 Z23
#define W8 Z24
#define W9 Z26
#define W10 Z25
#define W11 Z27
#define W12 Z28
#define W13 Z30
#define W14 Z29
#define W15 Z31

// ROUND does one of the 64 rounds; k is the constant's offset from R9. The state
// moves on by the names given to it.
#define ROUND(a, b, c, d, e, f, g, h, w, k) \
	VPADDD.BCST k(R9), w, Z10            \
	VPRORD      $6, e, Z11               \
	VPRORD      $11, e, Z12              \
	VPRORD      $25, e, Z13              \
	VMOVDQA32   e, Z14                   \
	VPTERNLOGD  $0xCA, g, f, Z14         \ // e chooses f or g
	VPTERNLOGD  $0x96, Z13, Z12, Z11     \ // exclusive or of the three
	VPADDD      Z10, h, h                \
	VPADDD      Z11, Z14, Z14            \
	VPADDD      Z14, h, h                \
	VPADDD      h, d, d                  \
	VPRORD      $2, a, Z11               \
	VPRORD      $13, a, Z12              \
	VPRORD      $22, a, Z13              \
	VMOVDQA32   a, Z15                   \
	VPTERNLOGD  $0xE8, c, b, Z15         \ // the majority of a, b and c
	VPTERNLOGD  $0x96, Z13, Z12, Z11     \
	VPADDD      Z15, Z11, Z11            \
	VPADDD      Z11, h, h

// NEXT replaces a word of the schedule, w, by the one sixteen rounds on.
#define NEXT(w, w1, w9, w14) \
	VPRORD     $7, w1, Z10           \
	VPRORD     $18, w1, Z11          \
	VPSRLD     $3, w1, Z12           \
	VPTERNLOGD $0x96, Z12, Z11, Z10  \
	VPRORD     $17, w14, Z11         \
	VPRORD     $19, w14, Z12         \
	VPSRLD     $10, w14, Z13         \
	VPTERNLOGD $0x96, Z13, Z12, Z11  \
	VPADDD     w9, w, w              \
	VPADDD     Z10, Z11, Z11         \
	VPADDD     Z11, w, w

// LOAD reads 64 bytes of the message in a lane and turns their words round.
#define LOAD(lane, z) \
	MOVL      (lane*4)(R10), AX \
	VMOVDQU32 (R8)(AX*1), z     \
	VPSHUFB   Z9, z, z

#define PAIR(low, high, x, y) \
	low       y, x, Z10 \
	high      y, x, y   \
	VMOVDQA64 Z10, x

#define QUADS(x, y) \
	VSHUFI32X4 $0x88, y, x, Z10 \
	VSHUFI32X4 $0xDD, y, x, y   \
	VMOVDQA64  Z10, x

// func hash16(out *[16][32]byte, base *byte, at *[16]uint32, blocks int, tails *[16][128]byte, tailBlocks int)
TEXT ·hash16(SB), NOSPLIT, $512-48
	MOVQ base+8(FP), R8
	MOVQ at+16(FP), R10
	MOVQ blocks+24(FP), CX
	MOVQ tailBlocks+40(FP), DX
	XORL R12, R12                 // 1 in the second hash
	VBROADCASTI32X4 turn<>(SB), Z9

	VPBROADCASTD start<>+0(SB), Z0
	VPBROADCASTD start<>+4(SB), Z1
	VPBROADCASTD start<>+8(SB), Z2
	VPBROADCASTD start<>+12(SB), Z3
	VPBROADCASTD start<>+16(SB), Z4
	VPBROADCASTD start<>+20(SB), Z5
	VPBROADCASTD start<>+24(SB), Z6
	VPBROADCASTD start<>+28(SB), Z7

block:
	TESTQ CX, CX
	JNZ   load

	// The blocks in place are done: now those of the tails.
	TESTQ DX, DX
	JZ    second
	MOVQ  tails+32(FP), R8
	LEAQ  lanes<>(SB), R10
	MOVQ  DX, CX
	XORL  DX, DX

load:
	LOAD(0, Z16)
	LOAD(1, Z17)
	LOAD(2, Z18)
	LOAD(3, Z19)
	LOAD(4, Z20)
	LOAD(5, Z21)
	LOAD(6, Z22)
	LOAD(7, Z23)
	LOAD(8, Z24)
	LOAD(9, Z25)
	LOAD(10, Z26)
	LOAD(11, Z27)
	LOAD(12, Z28)
	LOAD(13, Z29)
	LOAD(14, Z30)
	LOAD(15, Z31)
	ADDQ $64, R8
	DECQ CX

	// Rows become columns: words, pairs of words, quads, pairs of quads.
	PAIR(VPUNPCKLDQ, VPUNPCKHDQ, Z16, Z17)
	PAIR(VPUNPCKLDQ, VPUNPCKHDQ, Z18, Z19)
	PAIR(VPUNPCKLDQ, VPUNPCKHDQ, Z20, Z21)
	PAIR(VPUNPCKLDQ, VPUNPCKHDQ, Z22, Z23)
	PAIR(VPUNPCKLDQ, VPUNPCKHDQ, Z24, Z25)
	PAIR(VPUNPCKLDQ, VPUNPCKHDQ, Z26, Z27)
	PAIR(VPUNPCKLDQ, VPUNPCKHDQ, Z28, Z29)
	PAIR(VPUNPCKLDQ, VPUNPCKHDQ, Z30, Z31)
	PAIR(VPUNPCKLQDQ, VPUNPCKHQDQ, Z16, Z18)
	PAIR(VPUNPCKLQDQ, VPUNPCKHQDQ, Z17, Z19)
	PAIR(VPUNPCKLQDQ, VPUNPCKHQDQ, Z20, Z22)
	PAIR(VPUNPCKLQDQ, VPUNPCKHQDQ, Z21, Z23)
	PAIR(VPUNPCKLQDQ, VPUNPCKHQDQ, Z24, Z26)
	PAIR(VPUNPCKLQDQ, VPUNPCKHQDQ, Z25, Z27)
	PAIR(VPUNPCKLQDQ, VPUNPCKHQDQ, Z28, Z30)
	PAIR(VPUNPCKLQDQ, VPUNPCKHQDQ, Z29, Z31)
	QUADS(Z16, Z20)
	QUADS(Z17, Z21)
	QUADS(Z18, Z22)
	QUADS(Z19, Z23)
	QUADS(Z24, Z28)
	QUADS(Z25, Z29)
	QUADS(Z26, Z30)
	QUADS(Z27, Z31)
	QUADS(Z16, Z24)
	QUADS(Z17, Z25)
	QUADS(Z18, Z26)
	QUADS(Z19, Z27)
	QUADS(Z20, Z28)
	QUADS(Z21, Z29)
	QUADS(Z22, Z30)
	QUADS(Z23, Z31)

compress:
	VMOVDQU32 Z0, before-512(SP)
	VMOVDQU32 Z1, before-448(SP)
	VMOVDQU32 Z2, before-384(SP)
	VMOVDQU32 Z3, before-320(SP)
	VMOVDQU32 Z4, before-256(SP)
	VMOVDQU32 Z5, before-192(SP)
	VMOVDQU32 Z6, before-128(SP)
	VMOVDQU32 Z7, before-64(SP)
	LEAQ      constants<>(SB), R9
	MOVL      $3, BX

rounds:
	ROUND(Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z7, W0, 0)
	NEXT(W0, W1, W9, W14)
	ROUND(Z7, Z0, Z1, Z2, Z3, Z4, Z5, Z6, W1, 4)
	NEXT(W1, W2, W10, W15)
	ROUND(Z6, Z7, Z0, Z1, Z2, Z3, Z4, Z5, W2, 8)
	NEXT(W2, W3, W11, W0)
	ROUND(Z5, Z6, Z7, Z0, Z1, Z2, Z3, Z4, W3, 12)
	NEXT(W3, W4, W12, W1)
	ROUND(Z4, Z5, Z6, Z7, Z0, Z1, Z2, Z3, W4, 16)
	NEXT(W4, W5, W13, W2)
	ROUND(Z3, Z4, Z5, Z6, Z7, Z0, Z1, Z2, W5, 20)
	NEXT(W5, W6, W14, W3)
	ROUND(Z2, Z3, Z4, Z5, Z6, Z7, Z0, Z1, W6, 24)
	NEXT(W6, W7, W15, W4)
	ROUND(Z1, Z2, Z3, Z4, Z5, Z6, Z7, Z0, W7, 28)
	NEXT(W7, W8, W0, W5)
	ROUND(Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z7, W8, 32)
	NEXT(W8, W9, W1, W6)
	ROUND(Z7, Z0, Z1, Z2, Z3, Z4, Z5, Z6, W9, 36)
	NEXT(W9, W10, W2, W7)
	ROUND(Z6, Z7, Z0, Z1, Z2, Z3, Z4, Z5, W10, 40)
	NEXT(W10, W11, W3, W8)
	ROUND(Z5, Z6, Z7, Z0, Z1, Z2, Z3, Z4, W11, 44)
	NEXT(W11, W12, W4, W9)
	ROUND(Z4, Z5, Z6, Z7, Z0, Z1, Z2, Z3, W12, 48)
	NEXT(W12, W13, W5, W10)
	ROUND(Z3, Z4, Z5, Z6, Z7, Z0, Z1, Z2, W13, 52)
	NEXT(W13, W14, W6, W11)
	ROUND(Z2, Z3, Z4, Z5, Z6, Z7, Z0, Z1, W14, 56)
	NEXT(W14, W15, W7, W12)
	ROUND(Z1, Z2, Z3, Z4, Z5, Z6, Z7, Z0, W15, 60)
	NEXT(W15, W0, W8, W13)
	ADDQ $64, R9
	DECL BX
	JNZ  rounds

	ROUND(Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z7, W0, 0)
	ROUND(Z7, Z0, Z1, Z2, Z3, Z4, Z5, Z6, W1, 4)
	ROUND(Z6, Z7, Z0, Z1, Z2, Z3, Z4, Z5, W2, 8)
	ROUND(Z5, Z6, Z7, Z0, Z1, Z2, Z3, Z4, W3, 12)
	ROUND(Z4, Z5, Z6, Z7, Z0, Z1, Z2, Z3, W4, 16)
	ROUND(Z3, Z4, Z5, Z6, Z7, Z0, Z1, Z2, W5, 20)
	ROUND(Z2, Z3, Z4, Z5, Z6, Z7, Z0, Z1, W6, 24)
	ROUND(Z1, Z2, Z3, Z4, Z5, Z6, Z7, Z0, W7, 28)
	ROUND(Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z7, W8, 32)
	ROUND(Z7, Z0, Z1, Z2, Z3, Z4, Z5, Z6, W9, 36)
	ROUND(Z6, Z7, Z0, Z1, Z2, Z3, Z4, Z5, W10, 40)
	ROUND(Z5, Z6, Z7, Z0, Z1, Z2, Z3, Z4, W11, 44)
	ROUND(Z4, Z5, Z6, Z7, Z0, Z1, Z2, Z3, W12, 48)
	ROUND(Z3, Z4, Z5, Z6, Z7, Z0, Z1, Z2, W13, 52)
	ROUND(Z2, Z3, Z4, Z5, Z6, Z7, Z0, Z1, W14, 56)
	ROUND(Z1, Z2, Z3, Z4, Z5, Z6, Z7, Z0, W15, 60)

	VPADDD before-512(SP), Z0, Z0
	VPADDD before-448(SP), Z1, Z1
	VPADDD before-384(SP), Z2, Z2
	VPADDD before-320(SP), Z3, Z3
	VPADDD before-256(SP), Z4, Z4
	VPADDD before-192(SP), Z5, Z5
	VPADDD before-128(SP), Z6, Z6
	VPADDD before-64(SP), Z7, Z7
	TESTL  R12, R12
	JZ     block

	// The words of the digests go to their lanes, 32 bytes apart.
	MOVQ        out+0(FP), DI
	VMOVDQU32   apart<>(SB), Z8
	VPSHUFB     Z9, Z0, Z0
	VPSHUFB     Z9, Z1, Z1
	VPSHUFB     Z9, Z2, Z2
	VPSHUFB     Z9, Z3, Z3
	VPSHUFB     Z9, Z4, Z4
	VPSHUFB     Z9, Z5, Z5
	VPSHUFB     Z9, Z6, Z6
	VPSHUFB     Z9, Z7, Z7
	KXNORW      K1, K1, K1
	VPSCATTERDD Z0, K1, 0(DI)(Z8*1)
	KXNORW      K1, K1, K1
	VPSCATTERDD Z1, K1, 4(DI)(Z8*1)
	KXNORW      K1, K1, K1
	VPSCATTERDD Z2, K1, 8(DI)(Z8*1)
	KXNORW      K1, K1, K1
	VPSCATTERDD Z3, K1, 12(DI)(Z8*1)
	KXNORW      K1, K1, K1
	VPSCATTERDD Z4, K1, 16(DI)(Z8*1)
	KXNORW      K1, K1, K1
	VPSCATTERDD Z5, K1, 20(DI)(Z8*1)
	KXNORW      K1, K1, K1
	VPSCATTERDD Z6, K1, 24(DI)(Z8*1)
	KXNORW      K1, K1, K1
	VPSCATTERDD Z7, K1, 28(DI)(Z8*1)
	VZEROUPPER
	RET

second:
	// The digest is the message of the second hash: 32 bytes, a bit, zeros, and
	// its length of 256 bits.
	MOVL         $1, R12
	VMOVDQA32    Z0, W0
	VMOVDQA32    Z1, W1
	VMOVDQA32    Z2, W2
	VMOVDQA32    Z3, W3
	VMOVDQA32    Z4, W4
	VMOVDQA32    Z5, W5
	VMOVDQA32    Z6, W6
	VMOVDQA32    Z7, W7
	MOVL         $0x80000000, AX
	VPBROADCASTD AX, W8
	VPXORD       W9, W9, W9
	VPXORD       W10, W10, W10
	VPXORD       W11, W11, W11
	VPXORD       W12, W12, W12
	VPXORD       W13, W13, W13
	VPXORD       W14, W14, W14
	MOVL         $256, AX
	VPBROADCASTD AX, W15
	VPBROADCASTD start<>+0(SB), Z0
	VPBROADCASTD start<>+4(SB), Z1
	VPBROADCASTD start<>+8(SB), Z2
	VPBROADCASTD start<>+12(SB), Z3
	VPBROADCASTD start<>+16(SB), Z4
	VPBROADCASTD start<>+20(SB), Z5
	VPBROADCASTD start<>+24(SB), Z6
	VPBROADCASTD start<>+28(SB), Z7
	JMP          compress

// turn exchanges the bytes of each word.
DATA turn<>+0(SB)/8, $0x0405060700010203
DATA turn<>+8(SB)/8, $0x0c0d0e0f08090a0b
GLOBL turn<>(SB), RODATA|NOPTR, $16

// start is the first state, two words in each line.
DATA start<>+0(SB)/8, $0xbb67ae856a09e667
DATA start<>+8(SB)/8, $0xa54ff53a3c6ef372
DATA start<>+16(SB)/8, $0x9b05688c510e527f
DATA start<>+24(SB)/8, $0x5be0cd191f83d9ab
GLOBL start<>(SB), RODATA|NOPTR, $32

// lanes says where the tails of the lanes begin.
DATA lanes<>+0(SB)/8, $0x0000008000000000
DATA lanes<>+8(SB)/8, $0x0000018000000100
DATA lanes<>+16(SB)/8, $0x0000028000000200
DATA lanes<>+24(SB)/8, $0x0000038000000300
DATA lanes<>+32(SB)/8, $0x0000048000000400
DATA lanes<>+40(SB)/8, $0x0000058000000500
DATA lanes<>+48(SB)/8, $0x0000068000000600
DATA lanes<>+56(SB)/8, $0x0000078000000700
GLOBL lanes<>(SB), RODATA|NOPTR, $64

// apart says where the digests of the lanes go.
DATA apart<>+0(SB)/8, $0x0000002000000000
DATA apart<>+8(SB)/8, $0x0000006000000040
DATA apart<>+16(SB)/8, $0x000000a000000080
DATA apart<>+24(SB)/8, $0x000000e0000000c0
DATA apart<>+32(SB)/8, $0x0000012000000100
DATA apart<>+40(SB)/8, $0x0000016000000140
DATA apart<>+48(SB)/8, $0x000001a000000180
DATA apart<>+56(SB)/8, $0x000001e0000001c0
GLOBL apart<>(SB), RODATA|NOPTR, $64

// constants are those of the 64 rounds.
DATA constants<>+0(SB)/8, $0x71374491428a2f98
DATA constants<>+8(SB)/8, $0xe9b5dba5b5c0fbcf
DATA constants<>+16(SB)/8, $0x59f111f13956c25b
DATA constants<>+24(SB)/8, $0xab1c5ed5923f82a4
DATA constants<>+32(SB)/8, $0x12835b01d807aa98
DATA constants<>+40(SB)/8, $0x550c7dc3243185be
DATA constants<>+48(SB)/8, $0x80deb1fe72be5d74
DATA constants<>+56(SB)/8, $0xc19bf1749bdc06a7
DATA constants<>+64(SB)/8, $0xefbe4786e49b69c1
DATA constants<>+72(SB)/8, $0x240ca1cc0fc19dc6
DATA constants<>+80(SB)/8, $0x4a7484aa2de92c6f
DATA constants<>+88(SB)/8, $0x76f988da5cb0a9dc
DATA constants<>+96(SB)/8, $0xa831c66d983e5152
DATA constants<>+104(SB)/8, $0xbf597fc7b00327c8
DATA constants<>+112(SB)/8, $0xd5a79147c6e00bf3
DATA constants<>+120(SB)/8, $0x1429296706ca6351
DATA constants<>+128(SB)/8, $0x2e1b213827b70a85
DATA constants<>+136(SB)/8, $0x53380d134d2c6dfc
DATA constants<>+144(SB)/8, $0x766a0abb650a7354
DATA constants<>+152(SB)/8, $0x92722c8581c2c92e
DATA constants<>+160(SB)/8, $0xa81a664ba2bfe8a1
DATA constants<>+168(SB)/8, $0xc76c51a3c24b8b70
DATA constants<>+176(SB)/8, $0xd6990624d192e819
DATA constants<>+184(SB)/8, $0x106aa070f40e3585
DATA constants<>+192(SB)/8, $0x1e376c0819a4c116
DATA constants<>+200(SB)/8, $0x34b0bcb52748774c
DATA constants<>+208(SB)/8, $0x4ed8aa4a391c0cb3
DATA constants<>+216(SB)/8, $0x682e6ff35b9cca4f
DATA constants<>+224(SB)/8, $0x78a5636f748f82ee
DATA constants<>+232(SB)/8, $0x8cc7020884c87814
DATA constants<>+240(SB)/8, $0xa4506ceb90befffa
DATA constants<>+248(SB)/8, $0xc67178f2bef9a3f7
GLOBL constants<>(SB), RODATA|NOPTR, $256

