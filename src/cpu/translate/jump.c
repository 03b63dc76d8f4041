/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/translate/jump.h"

#include "cpu/mmu.h"

/* What a mode's number is made of; other bits must have one certain value. */
#define MODE_NEEDED (CODE_MODE_FLAT | CODE_MODE_PROTECTED)
#define MODE_BIG                                                                     \
    (CODE_MODE_BIG | CODE_MODE_STACK_BIG) /* both in 32-bit code; else of no meaning \
                                           */
/* Change about once in a guest's life: all slots are for one value of them. */
#define MODE_VECTORS (CODE_MODE_AVX | CODE_MODE_AVX512)
#define MODE_KNOWN                                                                                \
    (MODE_NEEDED | MODE_BIG | CODE_MODE_LONG | CODE_MODE_USER | CODE_MODE_NO_FPU | CODE_MODE_AC | \
     CODE_MODE_FS_OPEN | CODE_MODE_GS_OPEN | MODE_VECTORS)

uint32_t jump_mode(const struct vcpu *vcpu)
{
    uint32_t mode = vcpu->code_mode;
    if (mode & CODE_MODE_LONG)
        mode &= ~(uint32_t)MODE_BIG;
    return mode | (vcpu->translate.vector_trap ? CODE_MODE_NO_FPU : 0);
}

bool jump_mode_known(const struct vcpu *vcpu)
{
    uint32_t mode = vcpu->code_mode;
    return (mode & MODE_NEEDED) == MODE_NEEDED && !(mode & ~MODE_KNOWN) &&
           (mode & CODE_MODE_LONG || (mode & MODE_BIG) == MODE_BIG) &&
           vcpu->mmu_mode < MMU_CACHED_MODES;
}

/* Two addresses of one page never share a slot: so a tag's low bits can carry the context. */
static unsigned jump_index(uint64_t gva)
{
    return (gva ^ gva >> PAGE_SHIFT) & (JUMP_SLOTS - 1);
}

/* A tag that no address matches in this slot: a context touches the low 12 bits alone, so whatever
 * it is, the address would have the index's highest bit the other way round. */
static uint64_t empty_tag(unsigned index)
{
    return index ^ JUMP_SLOTS / 2;
}

void jump_clear(struct vcpu *vcpu)
{
    struct translate_state *state = &vcpu->translate;
    for (unsigned i = 0; i < JUMP_SLOTS; i++)
        state->jumps[i].tag = empty_tag(i);
    __atomic_store_n(&state->jump_clears, state->jump_clears + 1, __ATOMIC_RELAXED);
    memset(state->contexts, 0, sizeof(state->contexts));
    state->context_count = 0;
    state->jumps_lower = false;
}

static unsigned mode_number(const struct vcpu *vcpu)
{
    uint32_t mode = jump_mode(vcpu);
    return (mode & CODE_MODE_USER ? 1 : 0) | (mode & CODE_MODE_NO_FPU ? 2 : 0) |
           (mode & CODE_MODE_LONG ? 4 : 0) | (mode & CODE_MODE_FS_OPEN ? 8 : 0) |
           (mode & CODE_MODE_GS_OPEN ? 16 : 0);
}

/* May a kernel's code be the same in all address spaces, by the upper half or by global pages? */
static bool kernel_is_shared(const struct vcpu *vcpu)
{
    return vcpu->code_mode & CODE_MODE_LONG ||
           (vcpu->cr4 & CR4_PGE && vcpu->cr0 & CR0_PG && vcpu->mmu_mode != MMU_USER);
}

/* What tells address spaces apart, as far as that is needed: the supervisor modes' number stays as
 * it is when another one comes. */
static uint64_t context_generation(const struct vcpu *vcpu)
{
    unsigned mode = kernel_is_shared(vcpu) ? vcpu->mmu_mode : MMU_USER;
    return vcpu->tlbs[mode].generation >> TLB_GENERATION_SHIFT;
}

/* Is this code found under a number that more than one address space has, without being in all? */
static bool code_is_private(struct vcpu *vcpu, uint64_t gva)
{
    struct mmu_translation translation;
    if (gva >> 63 || vcpu->mmu_mode == MMU_USER || !kernel_is_shared(vcpu))
        return false;
    return vcpu->code_mode & CODE_MODE_LONG || !mmu_inspect(vcpu, gva, &translation) ||
           !translation.global;
}

static bool slots_are_stale(const struct vcpu *vcpu)
{
    const struct translate_state *state = &vcpu->translate;
    return state->fetch_epoch[0] != vcpu->fetch_epoch[0] ||
           state->fetch_epoch[1] != vcpu->fetch_epoch[1] ||
           state->jump_vectors != (vcpu->code_mode & MODE_VECTORS) ||
           (state->jumps_lower && state->lower_generation != vcpu->tlbs[MMU_USER].generation);
}

void jump_update(struct vcpu *vcpu)
{
    struct translate_state *state = &vcpu->translate;
    if (unlikely(slots_are_stale(vcpu)) ||
        unlikely(state->context_count + CONTEXT_STEP > CONTEXT_MAX)) {
        jump_clear(vcpu);
        state->fetch_epoch[0] = vcpu->fetch_epoch[0];
        state->fetch_epoch[1] = vcpu->fetch_epoch[1];
        state->jump_vectors = vcpu->code_mode & MODE_VECTORS;
    }
    uint16_t *context = &state->contexts[mode_number(vcpu)][context_generation(vcpu)];
    if (unlikely(!*context)) {
        state->context_count = (uint16_t)(state->context_count + CONTEXT_STEP);
        *context = state->context_count;
    }
    state->jump_context = *context | (vcpu->code_mode & CODE_MODE_AC ? CONTEXT_AC : 0);
}

const struct jump_slot *jump_find(const struct vcpu *vcpu, uint64_t gva)
{
    const struct jump_slot *slot = &vcpu->translate.jumps[jump_index(gva)];
    return slot->tag == (gva ^ vcpu->translate.jump_context) ? slot : NULL;
}

void jump_forget(struct vcpu *vcpu, uint64_t gva)
{
    vcpu->translate.jumps[jump_index(gva)].tag = empty_tag(jump_index(gva));
}

void jump_add(struct vcpu *vcpu, uint64_t gva, const struct translation *translation)
{
    struct translate_state *state = &vcpu->translate;
    if (code_is_private(vcpu, gva)) {
        state->jumps_lower = true;
        state->lower_generation = vcpu->tlbs[MMU_USER].generation;
    }
    if (gva >> 63 && vcpu->mmu_mode == MMU_USER)
        return;
    state->jumps[jump_index(gva)] = (struct jump_slot){
        .tag = gva ^ state->jump_context,
        .parked = (uintptr_t)translator_code(state->shared, translation->parked),
    };
}
