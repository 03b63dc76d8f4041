/* SPDX-License-Identifier: Apache-2.0 */
/* The interpreter's loop: requests, finding the next block, running it, delivering what it raised.
 */
#include "cpu/breakpoint.h"
#include "cpu/engine.h"
#include "cpu/exception.h"
#include "cpu/interpret/block.h"
#include "cpu/interpret/flags.h"
#include "cpu/interpret/single.h"
#include "cpu/interpret/vector.h"
#include "cpu/mmu.h"

#include <errno.h>

static void code_written(void *opaque, uint64_t gpa_page)
{
    vcpu_post_code_page(opaque, gpa_page);
}

static int interpret_create(struct vcpu *vcpu, struct error *error)
{
    struct interpreter *interpreter = interpreter_create();
    if (!interpreter)
        return error_set(error, ENOMEM, "vcpu %u: no memory for the interpreter", vcpu->index);
    decoders_init(interpreter);
    interpreter->observer = (struct memory_observer){.code_written = code_written, .opaque = vcpu};
    vcpu->engine_data[ENGINE_INTERPRET] = interpreter;
    if (vector_create(vcpu, error) < 0) {
        interpreter_destroy(interpreter);
        vcpu->engine_data[ENGINE_INTERPRET] = NULL;
        return -ENOMEM;
    }
    memory_add_observer(vcpu->memory, &interpreter->observer);
    return 0;
}

static void interpret_destroy(struct vcpu *vcpu)
{
    struct interpreter *interpreter = interpreter_of(vcpu);
    if (!interpreter)
        return;
    memory_remove_observer(vcpu->memory, &interpreter->observer);
    vector_destroy(vcpu);
    interpreter_destroy(interpreter);
    vcpu->engine_data[ENGINE_INTERPRET] = NULL;
}

static void interpret_invalidate(struct vcpu *vcpu, uint64_t gpa_page)
{
    if (gpa_page == ~UINT64_C(0))
        block_drop_all(interpreter_of(vcpu));
    else
        block_drop_page(interpreter_of(vcpu), gpa_page);
}

/* A block that crosses into a second page is right only while that page is still mapped behind the
 * first. */
static bool second_page_holds(struct vcpu *vcpu, const struct block *block, uint64_t linear)
{
    uint64_t gpa;
    if (likely(block->second_page == NO_SECOND_PAGE))
        return true;
    uint64_t next_page = (linear & PAGE_MASK) + PAGE_SIZE;
    return mmu_fetch(vcpu, next_page, &gpa) != MMU_FAULT && gpa == block->second_page;
}

/* By physical address, decoding when it is new. NULL: exception recorded. */
static struct block *block_lookup(struct vcpu *vcpu, uint64_t linear, uint32_t code_mode)
{
    uint64_t gpa;
    if (unlikely(mmu_fetch(vcpu, linear, &gpa) == MMU_FAULT))
        return NULL;
    struct block *block = block_find(interpreter_of(vcpu), gpa, code_mode);
    if (block && second_page_holds(vcpu, block, linear))
        return block;
    if (vcpu->exception.pending)
        return NULL;
    if (block) /* its second page has changed under this address */
        block_drop_page(interpreter_of(vcpu), block->second_page);
    return block_decode(vcpu, vcpu->rip, gpa, code_mode);
}

/* Do all bytes of the block lie inside the code segment? No fetch looks at that. */
static inline bool block_inside_limit(const struct vcpu *vcpu, const struct block *block)
{
    if (likely(vcpu->code_mode & (CODE_MODE_LONG | CODE_MODE_FLAT)))
        return true;
    return vcpu->rip + block->ops[block->op_count].offset - 1 <= vcpu->segments[SEG_CS].limit;
}

/* A direct branch whose target starts in the page the branch lies in needs no lookup again. */
static void chain(struct vcpu *vcpu, struct interpreter *interpreter, struct block *block,
                  uint64_t page)
{
    struct op *from = (struct op *)interpreter->chain_from;
    if (block->code_mode == vcpu->code_mode && !(vcpu->segment_bases[SEG_CS] & ~PAGE_MASK) &&
        block->second_page == NO_SECOND_PAGE && !((page ^ vcpu->rip) & PAGE_MASK) &&
        block_inside_limit(vcpu, block))
        from->target = block;
}

static inline struct block *block_next(struct vcpu *vcpu, struct interpreter *interpreter,
                                       uint32_t code_mode)
{
    uint64_t linear = vcpu->rip + vcpu->segment_bases[SEG_CS];
    struct block *block = jump_find(vcpu, interpreter, linear, code_mode);
    if (likely(block != NULL))
        return block;
    block = block_lookup(vcpu, linear, code_mode);
    if (block && block->second_page == NO_SECOND_PAGE && block->code_mode == code_mode)
        *jump_slot(interpreter, linear) =
            (struct jump_entry){linear, mmu_fetch_generation(vcpu, linear), block};
    return block;
}

static inline void block_run(struct vcpu *vcpu, struct block *block)
{
    vcpu->rflags &=
        ~RFLAGS_RF; /* before the first instruction ends: it may be an IRET that sets it */
    vcpu->registers[REGISTER_BLOCK] = vcpu->rip;
    vcpu_count(vcpu, block->op_count);
    block->ops[0].run(vcpu, block->ops);
}

/* Does an instruction start inside the code segment? */
static bool limit_check(struct vcpu *vcpu)
{
    if (vcpu->code_mode & CODE_MODE_LONG || vcpu->rip <= vcpu->segments[SEG_CS].limit)
        return true;
    return raise_error(vcpu, VECTOR_GP, 0);
}

/* What comes before the instruction itself, first things first. APM vol. 2 §8.5 */
static bool step_allowed(struct vcpu *vcpu, uint64_t linear, bool after_stack_load)
{
    /* Nothing stops between a load of SS and the instruction behind it. */
    uint64_t hits = vcpu->rflags & RFLAGS_RF || after_stack_load ? 0 : breakpoints_at(vcpu, linear);
    if (hits)
        return raise_debug(vcpu, hits);
    return limit_check(vcpu);
}

/*
 * Runs exactly one instruction: under TF or armed breakpoints, in an interrupt shadow, and when the
 * budget is nearly used up.
 */
static void step_one(struct vcpu *vcpu)
{
    struct interpreter *interpreter = interpreter_of(vcpu);
    bool trap = vcpu->rflags & RFLAGS_TF;
    bool after_stack_load = vcpu->interrupt_shadow && vcpu->trap_shadow;
    uint64_t linear = vcpu->rip + vcpu->segment_bases[SEG_CS];
    vcpu->interrupt_shadow = false;
    if (!step_allowed(vcpu, linear, after_stack_load))
        return;
    struct block *block = block_lookup(vcpu, linear, vcpu->code_mode | CODE_MODE_STEP);
    interpreter->chain_from = NULL;
    if (!block)
        return;
    if (!block_inside_limit(vcpu, block)) {
        raise_error(vcpu, VECTOR_GP, 0);
        return;
    }
    vcpu->trap_shadow = false;
    if (!after_stack_load)
        vcpu->watch_hits = 0;
    block_run(vcpu, block);
    interpreter->chain_from = NULL;
    if (vcpu->exception.pending || (vcpu->interrupt_shadow && vcpu->trap_shadow))
        return; /* a load of SS keeps what it met for the next instruction */
    trap &= !vcpu->trap_shadow;
    if (trap || vcpu->watch_hits)
        raise_debug(vcpu, (trap ? DR6_BS : 0) | vcpu->watch_hits);
}

/* Step by step where the whole block is too much: the budget, or the segment's limit. */
static inline void block_run_or_step(struct vcpu *vcpu, struct block *block)
{
    if (unlikely(vcpu->instruction_budget - vcpu->instruction_count < block->op_count ||
                 !block_inside_limit(vcpu, block)))
        step_one(vcpu);
    else
        block_run(vcpu, block);
}

static enum vcpu_exit service(struct vcpu *vcpu, bool *stop)
{
    flags_materialise(vcpu);
    enum vcpu_exit exit = vcpu_service_requests(vcpu, stop);
    flags_load(vcpu, vcpu->rflags);
    interpreter_of(vcpu)->chain_from = NULL;
    return exit;
}

/* Delivers what the last block raised. False: triple fault. */
static bool deliver(struct vcpu *vcpu)
{
    flags_materialise(vcpu);
    bool alive = exception_deliver(vcpu);
    flags_load(vcpu, vcpu->rflags);
    interpreter_of(vcpu)->chain_from = NULL;
    return alive;
}

static enum vcpu_exit interpret_loop(struct vcpu *vcpu)
{
    struct interpreter *interpreter = interpreter_of(vcpu);
    bool look = true; /* at the requests, even when none is set: the vcpu may be halted */
    for (;;) {
        /* Before the requests: an interrupt taken now would find the exception of another place. */
        if (unlikely(vcpu->exception.pending) && !deliver(vcpu))
            return VCPU_EXIT_SHUTDOWN;
        if (unlikely(look || atomic_load_explicit(&vcpu->requests, memory_order_relaxed))) {
            bool stop = false;
            look = false;
            enum vcpu_exit exit = service(vcpu, &stop);
            if (exit != VCPU_EXIT_NONE || stop)
                return exit;
        }
        if (unlikely(vcpu->instruction_count >= vcpu->instruction_budget))
            return VCPU_EXIT_SWITCH;
        if (unlikely(vcpu->interrupt_shadow || vcpu->code_mode & CODE_MODE_STEP)) {
            step_one(vcpu);
            continue;
        }
        if (unlikely(!limit_check(vcpu)))
            continue;
        uint64_t from_page = vcpu->registers[REGISTER_BLOCK];
        struct block *block = block_next(vcpu, interpreter, vcpu->code_mode);
        if (unlikely(!block))
            continue;
        if (interpreter->chain_from) {
            chain(vcpu, interpreter, block, from_page);
            interpreter->chain_from = NULL;
        }
        block_run_or_step(vcpu, block);
    }
}

static enum vcpu_exit interpret_run(struct vcpu *vcpu)
{
    flags_load(vcpu, vcpu->rflags);
    vector_enter(vcpu);
    interpreter_of(vcpu)->runs_on = true;
    enum vcpu_exit exit = interpret_loop(vcpu);
    interpreter_of(vcpu)->runs_on = false;
    vector_leave(vcpu);
    flags_materialise(vcpu);
    return exit;
}

void interpret_operation(struct vcpu *vcpu, const struct op *ops)
{
    flags_load(vcpu, vcpu->rflags);
    vcpu->registers[REGISTER_BLOCK] = vcpu->rip;
    vcpu_count(vcpu, 1);
    ops->run(vcpu, ops);
    interpreter_of(vcpu)->chain_from = NULL;
    flags_materialise(vcpu);
}

void interpret_one(struct vcpu *vcpu)
{
    flags_load(vcpu, vcpu->rflags);
    vector_enter(vcpu);
    step_one(vcpu);
    vector_leave(vcpu);
    flags_materialise(vcpu);
}

void interpret_until(struct vcpu *vcpu, bool (*until)(const struct vcpu *vcpu))
{
    struct interpreter *interpreter = interpreter_of(vcpu);
    flags_load(vcpu, vcpu->rflags);
    vector_enter(vcpu);
    while (!vcpu->exception.pending && !until(vcpu) &&
           !atomic_load_explicit(&vcpu->requests, memory_order_relaxed) &&
           vcpu->instruction_count < vcpu->instruction_budget) {
        if (vcpu->interrupt_shadow || vcpu->code_mode & CODE_MODE_STEP) {
            step_one(vcpu); /* where a breakpoint comes before the limit */
            continue;
        }
        if (!limit_check(vcpu))
            break;
        struct block *block = block_next(vcpu, interpreter, vcpu->code_mode);
        interpreter->chain_from = NULL;
        if (!block)
            break;
        block_run_or_step(vcpu, block);
        interpreter->chain_from = NULL;
    }
    vector_leave(vcpu);
    flags_materialise(vcpu);
}

static void interpret_stats(struct vcpu *vcpu, FILE *stream)
{
    const struct interpreter *interpreter = interpreter_of(vcpu);
    fprintf(stream, "blocks decoded: %llu\nbytes of blocks: %llu\n",
            (unsigned long long)__atomic_load_n(&interpreter->blocks_decoded, __ATOMIC_RELAXED),
            (unsigned long long)__atomic_load_n(&interpreter->arena_bytes, __ATOMIC_RELAXED));
}

const struct engine_ops engine_interpret = {
    .name = "interpret",
    .summary = "complete machine simulation: portable, the reference for all others",
    .index = ENGINE_INTERPRET,
    .create = interpret_create,
    .destroy = interpret_destroy,
    .run = interpret_run,
    .invalidate = interpret_invalidate,
    .stats = interpret_stats,
};
