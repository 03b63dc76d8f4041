/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cached blocks: runs of decoded instructions, keyed by the physical address they came from and the
 * code mode they were decoded for. A cache belongs to one vcpu.
 */
#ifndef NACRE_CPU_INTERPRET_BLOCK_H
#define NACRE_CPU_INTERPRET_BLOCK_H

#include "cpu/interpret/op.h"

#include <Zydis/Zydis.h>

#define BLOCK_OPS_MAX     64
#define BLOCK_MODE_NONE   (~0u) /* code_mode of a dropped block: matches no lookup */
#define NO_SECOND_PAGE    (~UINT64_C(0))
#define JUMP_CACHE_SIZE   4096u
#define BLOCK_HASH_SIZE   16384u
#define BLOCK_PAGES_SIZE  4096u
#define BLOCK_ARENA_CHUNK KIB(256)
#define BLOCK_ARENA_MAX   MIB(12)

struct block {
    uint64_t gpa;         /* of the first byte */
    uint64_t second_page; /* gpa of the page the last instruction runs into, or NO_SECOND_PAGE */
    uint32_t code_mode;
    uint16_t op_count; /* instructions; one more op, block_end, may follow them */
    struct block *hash_next;
    struct op ops[];
};

/* Says that a block has bytes in a page. */
struct block_link {
    struct block *block;
    uint64_t page;
    struct block_link *next;
};

/* Where a branch target was found last time. */
struct jump_entry {
    uint64_t address; /* linear */
    uint64_t generation;
    struct block *block;
};

struct arena_chunk {
    struct arena_chunk *next;
    size_t used;
    uint8_t bytes[];
};

/* Everything the interpreter keeps for one vcpu. */
struct interpreter {
    bool runs_on; /* branches may go from block to block; else they come back after each */
    struct jump_entry jumps[JUMP_CACHE_SIZE];
    struct block *hash[BLOCK_HASH_SIZE];
    struct block_link *pages[BLOCK_PAGES_SIZE];
    struct arena_chunk *chunks; /* newest first */
    size_t arena_bytes;         /* read by other threads, as blocks_decoded is */
    uint64_t blocks_decoded;    /* since the start */
    ZydisDecoder decoders[5];
    struct memory_observer observer;
    struct block *scratch;       /* one instruction that cannot be cached (executed from MMIO) */
    const struct op *chain_from; /* direct branch that led here: gets the target chained */
};

static inline struct interpreter *interpreter_of(const struct vcpu *vcpu)
{
    return vcpu->engine_data[ENGINE_INTERPRET];
}

struct interpreter *interpreter_create(void);
void interpreter_destroy(struct interpreter *interpreter);

/* A cached block, or NULL. */
struct block *block_find(struct interpreter *interpreter, uint64_t gpa, uint32_t code_mode);
/* Copies ops (count instructions, plus a block_end) into a new cached block. NULL: no memory. */
struct block *block_add(struct interpreter *interpreter, uint64_t gpa, uint64_t second_page,
                        uint32_t code_mode, const struct op *ops, unsigned op_count);
/* Drops the blocks that have bytes in a page. */
void block_drop_page(struct interpreter *interpreter, uint64_t gpa_page);
void block_drop_all(struct interpreter *interpreter);

/* Decodes the block at rip into the cache (or the scratch block). NULL: exception recorded, or
 * VCPU_EXIT_ERROR's error set. */
struct block *block_decode(struct vcpu *vcpu, uint64_t rip, uint64_t gpa, uint32_t code_mode);

static inline struct jump_entry *jump_slot(struct interpreter *interpreter, uint64_t linear)
{
    return &interpreter->jumps[(linear ^ linear >> 12) % JUMP_CACHE_SIZE];
}

/* The block at a linear address when it was there the last time, too; else NULL. */
static inline struct block *jump_find(const struct vcpu *vcpu, struct interpreter *interpreter,
                                      uint64_t linear, uint32_t code_mode)
{
    const struct jump_entry *jump = jump_slot(interpreter, linear);
    bool same = jump->address == linear && jump->block &&
                jump->generation == mmu_fetch_generation(vcpu, linear) &&
                jump->block->code_mode == code_mode;
    return likely(same) ? jump->block : NULL;
}

/* Prepares the decoders of every mode. */
void decoders_init(struct interpreter *interpreter);

/* The op behind the last instruction of a block that no branch ends. */
op_handler block_end;

#endif
