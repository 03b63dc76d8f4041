/* SPDX-License-Identifier: Apache-2.0 */
/* What emitted code asks of C: TLB misses, branches to new places, instructions of the kernel's. */
#include "cpu/translate/event.h"

#include "cpu/interpret/single.h"
#include "cpu/mmu.h"
#include "cpu/translate/build.h"
#include "cpu/translate/jump.h"
#include "cpu/translate/stubs.h"
#include "cpu/translate/vector.h"

/* Bits of AH after LAHF that are flags. */
#define LAHF_FLAGS (RFLAGS_SF | RFLAGS_ZF | RFLAGS_AF | RFLAGS_PF | RFLAGS_CF)

void translate_flags_compose(struct vcpu *vcpu)
{
    uint16_t parked = vcpu->translate.parked_flags;
    vcpu->rflags = (vcpu->rflags & ~RFLAGS_ARITHMETIC) | (parked >> 8 & LAHF_FLAGS) |
                   (parked & 1 ? RFLAGS_OF : 0);
}

void translate_flags_park(struct vcpu *vcpu)
{
    vcpu->translate.parked_flags =
        (uint16_t)((vcpu->rflags & LAHF_FLAGS) << 8 | (vcpu->rflags & RFLAGS_OF ? 1 : 0));
}

/* With a budget, code returns here after each translation, and each is no longer than the budget.
 */
static bool is_counting(const struct vcpu *vcpu)
{
    return vcpu->instruction_budget != ~UINT64_C(0);
}

/* Most instructions that a translation may have now, as part of its mode; 0: as many as there are.
 */
static uint32_t mode_limit(const struct vcpu *vcpu)
{
    uint64_t left = vcpu->instruction_budget - vcpu->instruction_count;
    return left < SCAN_INSTRUCTIONS_MAX ? (uint32_t)left << MODE_LIMIT_SHIFT : 0;
}

static uint64_t code_address(const struct vcpu *vcpu, uint32_t offset)
{
    return (uintptr_t)translator_code(vcpu->translate.shared, offset);
}

/* Emitted code is left with rip at the site's instruction. */
static uint64_t leave_at(struct vcpu *vcpu, const struct site *site)
{
    vcpu->rip = vcpu->translate.rip_page + site->offset;
    if (is_counting(vcpu))
        vcpu_count(vcpu, site->executed);
    return 0;
}

static uint64_t leave_to_interpreter(struct vcpu *vcpu, const struct site *site)
{
    vcpu->translate.interpret_next = true;
    return leave_at(vcpu, site);
}

/* --- translations --- */

/* The bytes from gpa on to the page's end, and then of the second page, into the scan. Returns how
 * many; 0: there are none. */
static unsigned read_code(struct vcpu *vcpu, uint64_t gpa, uint64_t second_page)
{
    struct scan *scan = vcpu->translate.shared->scan;
    unsigned offset = gpa & (PAGE_SIZE - 1), size = (unsigned)PAGE_SIZE - offset;
    if (memory_read(vcpu->memory, gpa, scan->bytes + offset, size) < 0)
        return 0;
    if (second_page == NO_PAGE)
        return size;
    return memory_read(vcpu->memory, second_page, scan->bytes + PAGE_SIZE, INSTRUCTION_MAX) < 0
               ? 0
               : size + INSTRUCTION_MAX;
}

/* Says that the instructions of the scan are cached. False: their bytes have changed by now. */
static bool mark_code(struct vcpu *vcpu, uint64_t gpa, uint64_t second_page)
{
    const struct scan *scan = vcpu->translate.shared->scan;
    unsigned start = gpa & (PAGE_SIZE - 1);
    unsigned end = (unsigned)instruction_end(&scan->instructions[scan->count - 1]);
    unsigned in_page = end < PAGE_SIZE ? end : (unsigned)PAGE_SIZE;
    return mmu_mark_code(vcpu, gpa, scan->bytes + start, in_page - start) &&
           (end == in_page ||
            mmu_mark_code(vcpu, second_page, scan->bytes + PAGE_SIZE, end - in_page));
}

/* Scans and translates what is at gpa. NULL: the interpreter's. Lock held. */
static struct translation *translate(struct vcpu *vcpu, uint64_t gpa, uint64_t second_page,
                                     uint32_t mode)
{
    struct translator *translator = vcpu->translate.shared;
    struct scan *scan = translator->scan;
    scan->crosses = false;
    if (translator_is_full(translator)) {
        vcpu->translate.cache_full = true;
        return NULL;
    }
    unsigned available = read_code(vcpu, gpa, second_page);
    unsigned limit = mode >> MODE_LIMIT_SHIFT & 63;
    if (!limit)
        limit = SCAN_INSTRUCTIONS_MAX;
    if (second_page != NO_PAGE)
        limit = 1;
    if (!available || !scan_run(scan, vcpu->model, mode, gpa & (PAGE_SIZE - 1), available, limit))
        return NULL;
    if (!mark_code(vcpu, gpa, second_page))
        return NULL;
    return build_translation(translator, vcpu, gpa, second_page, mode);
}

/* NULL: there is none, because the cache is full, or the first instruction runs into the next page
 * (and second_page is NO_PAGE; *crosses is set), or it is the interpreter's. */
static struct translation *find_or_translate(struct vcpu *vcpu, uint64_t gpa, uint64_t second_page,
                                             uint32_t mode, bool *crosses)
{
    struct translator *translator = vcpu->translate.shared;
    pthread_mutex_lock(&translator->lock);
    struct translation *translation = translation_find(translator, gpa, second_page, mode);
    if (!translation) {
        translation = translate(vcpu, gpa, second_page, mode);
        *crosses = translator->scan->crosses;
    }
    pthread_mutex_unlock(&translator->lock);
    return translation;
}

static void link_site(struct vcpu *vcpu, struct site *site, struct translation *to)
{
    struct translator *translator = vcpu->translate.shared;
    pthread_mutex_lock(&translator->lock);
    if (site->translation->valid && to->valid)
        site_link(translator, site, to);
    pthread_mutex_unlock(&translator->lock);
}

/* Leaves emitted code for the interpreter, unless all that is missing is room. */
static uint64_t no_code(struct vcpu *vcpu)
{
    vcpu->translate.interpret_next = !vcpu->translate.cache_full;
    return 0;
}

/* What starts at rip, which is at gpa. */
static struct translation *translation_at_rip(struct vcpu *vcpu, uint64_t gpa)
{
    bool crosses = false;
    uint32_t mode = jump_mode(vcpu) | mode_limit(vcpu);
    struct translation *translation = find_or_translate(vcpu, gpa, NO_PAGE, mode, &crosses);
    uint64_t next_page = (vcpu->rip & PAGE_MASK) + PAGE_SIZE, second_page;
    if (translation || !crosses || !address_is_canonical(next_page))
        return translation;
    if (mmu_fetch(vcpu, next_page, &second_page) == MMU_FAULT) {
        vcpu->exception.pending = false; /* the interpreter raises it at its place */
        return NULL;
    }
    jump_update(vcpu);
    return memory_is_ram(vcpu->memory, second_page)
               ? find_or_translate(vcpu, gpa, second_page, mode, &crosses)
               : NULL;
}

uint64_t translate_lookup(struct vcpu *vcpu)
{
    struct translate_state *state = &vcpu->translate;
    uint64_t gpa;
    vcpu->rflags &= ~RFLAGS_RF;
    if (vcpu->interrupt_shadow || !jump_mode_known(vcpu))
        return 0;
    jump_update(vcpu);
    translate_vector_drop(vcpu);
    state->rip_page = vcpu->rip & PAGE_MASK;
    const struct jump_slot *slot = jump_find(vcpu, vcpu->rip);
    if (slot)
        return slot->parked;
    if (mmu_fetch(vcpu, vcpu->rip, &gpa) == MMU_FAULT)
        return 0;
    jump_update(vcpu); /* the fetch may have filled the TLB's last generation */
    struct translation *translation =
        memory_is_ram(vcpu->memory, gpa) ? translation_at_rip(vcpu, gpa) : NULL;
    if (!translation)
        return no_code(vcpu);
    if (!is_counting(vcpu))
        jump_add(vcpu, vcpu->rip, translation);
    return code_address(vcpu, translation->parked);
}

/* As translate_lookup() from inside an event. */
static uint64_t go_to_rip(struct vcpu *vcpu)
{
    uint64_t code = translate_lookup(vcpu);
    if (code)
        translate_flags_park(vcpu);
    return code;
}

/* --- the events --- */

/* A window cannot be had: a page's end, MMIO, a fault for one of its accesses. The vcpu goes on in
 * a translation that looks up each for itself, and next time without a call. */
static uint64_t window_missed(struct vcpu *vcpu, struct site *site)
{
    uint64_t gpa = (site->translation->gpa & PAGE_MASK) + site->offset;
    uint32_t mode = site->translation->mode;
    bool crosses = false;
    vcpu->exception.pending = false;
    if (is_counting(vcpu)) {
        /* It may have no more instructions than are left of this one. */
        unsigned left = site->translation->instruction_count - site->executed;
        mode = (mode & ~(63u << MODE_LIMIT_SHIFT)) | left << MODE_LIMIT_SHIFT;
        vcpu_count(vcpu, site->executed);
    }
    struct translation *single =
        find_or_translate(vcpu, gpa, NO_PAGE, mode | MODE_SINGLE, &crosses);
    if (!single) {
        vcpu->rip = vcpu->translate.rip_page + site->offset;
        return no_code(vcpu);
    }
    if (!is_counting(vcpu))
        link_site(vcpu, site, single);
    return code_address(vcpu, single->parked);
}

/* D is set for a write that happens: a window may be left before its first one. */
static bool may_open_window(struct vcpu *vcpu, uint64_t gva, bool write)
{
    struct mmu_translation translation;
    return !write || (mmu_inspect(vcpu, gva, &translation) && translation.dirty);
}

/* The exception is recorded; but where another may come first (#SS for #GP, #GP for an operand that
 * is not aligned), or none because a mask leaves that part out, the interpreter says which. */
static uint64_t access_faulted(struct vcpu *vcpu, const struct site *site, uint64_t gva)
{
    bool unaligned = site->size >= 16 && gva & (site->size - 1u);
    if (vcpu->exception.vector != VECTOR_GP && !unaligned && !site->masked)
        return leave_at(vcpu, site);
    vcpu->exception.pending = false;
    return leave_to_interpreter(vcpu, site);
}

static uint64_t access_missed(struct vcpu *vcpu, struct site *site, uint64_t gva)
{
    struct translate_state *state = &vcpu->translate;
    bool write = site->kind == SITE_WRITE;
    enum mmu_status status;
    if (write && site->masked) /* it may not even set a D bit */
        return leave_to_interpreter(vcpu, site);
    if (site->run && !may_open_window(vcpu, gva, write))
        return window_missed(vcpu, site);
    void *hva =
        mmu_hva(vcpu, gva, site->size, write ? MMU_WRITE : MMU_READ, vcpu->mmu_mode, &status);
    if (likely(hva != NULL)) {
        state->address = (uintptr_t)hva;
        return code_address(vcpu, site->resume);
    }
    if (site->run)
        return window_missed(vcpu, site);
    if (status == MMU_FAULT)
        return access_faulted(vcpu, site, gva);
    if (write || site->size > BOUNCE_SIZE)
        return leave_to_interpreter(vcpu, site);
    /* MMIO, or across a page's end: the instruction reads a copy, aligned as the original is. */
    uint8_t *copy = state->bounce + (gva & (BOUNCE_SIZE - 1));
    if (mmu_read(vcpu, gva, copy, site->size, vcpu->mmu_mode) == MMU_FAULT)
        return access_faulted(vcpu, site, gva);
    state->address = (uintptr_t)copy;
    return code_address(vcpu, site->resume);
}

/* A direct branch within the page: its target's physical address needs no look at the page tables,
 * unless the instruction there runs into the next page. */
static uint64_t branch_missed(struct vcpu *vcpu, struct site *site)
{
    uint64_t gpa = (site->translation->gpa & PAGE_MASK) + (uint64_t)site->target;
    bool crosses = false;
    vcpu->rip = vcpu->translate.rip_page + (uint64_t)site->target;
    if (is_counting(vcpu)) {
        vcpu_count(vcpu, site->executed);
        return 0;
    }
    struct translation *to = find_or_translate(vcpu, gpa, NO_PAGE, site->mode, &crosses);
    if (!to) {
        translate_flags_compose(vcpu);
        return go_to_rip(vcpu);
    }
    link_site(vcpu, site, to);
    return code_address(vcpu, to->parked);
}

/* tag: the target's address as jump slots have it. */
static uint64_t indirect_missed(struct vcpu *vcpu, const struct site *site, uint64_t tag)
{
    uint64_t target = tag ^ vcpu->translate.jump_context;
    if (unlikely(!address_is_canonical(target))) {
        vcpu->registers[GPR_RSP] += (uint64_t)site->target;
        vcpu->translate.interpret_next = true; /* the branch again, which raises #GP */
        vcpu->rip = vcpu->translate.rip_page + site->offset;
        if (is_counting(vcpu))
            vcpu_count(vcpu, site->executed - 1);
        return 0;
    }
    vcpu->rip = target;
    if (is_counting(vcpu)) {
        vcpu_count(vcpu, site->executed);
        return 0;
    }
    translate_flags_compose(vcpu);
    return go_to_rip(vcpu);
}

/* Registers for code that is about to start, unless the interpreter must watch what they do. */
static uint64_t load_vectors(struct vcpu *vcpu, const struct site *site)
{
    struct translate_state *state = &vcpu->translate;
    if (state->vector_trap) { /* translated before an exception was unmasked: cannot be */
        return leave_to_interpreter(vcpu, site);
    }
    if (site->kind == SITE_LOAD_X87)
        translate_x87_load(vcpu);
    else
        translate_vector_want(vcpu, site->translation);
    return code_address(vcpu, site->translation->parked);
}

static uint64_t operation(struct vcpu *vcpu, const struct site *site)
{
    struct translate_state *state = &vcpu->translate;
    uint64_t context = state->jump_context, next = state->rip_page + (uint64_t)site->target;
    uint32_t mode = vcpu->code_mode;
    vcpu->rip = state->rip_page + site->offset;
    translate_flags_compose(vcpu);
    bool x87 = site->vectors && state->x87_live;
    if (x87)
        translate_x87_save(vcpu);
    interpret_operation(vcpu, site->ops);
    if (site->vectors)
        translate_vector_update(vcpu);
    translate_flags_park(vcpu);
    if (is_counting(vcpu)) {
        vcpu_count(vcpu, site->executed);
        return 0;
    }
    if (unlikely(vcpu->exception.pending) || vcpu->run_state != VCPU_RUNNING)
        return 0;
    if (vcpu->code_mode == mode && vcpu->rip == next && !site->last) {
        jump_update(vcpu);
        bool asked = atomic_load_explicit(&vcpu->requests, memory_order_relaxed);
        if (asked && !vcpu->interrupt_shadow)
            return 0; /* an interrupt that the instruction itself has let in comes right behind it
                       */
        if (state->jump_context == context) {
            /* An interrupt shadow lasts for the instruction that follows in the translation. */
            vcpu->interrupt_shadow = false;
            if (x87)
                translate_x87_load(vcpu);
            return code_address(vcpu, site->resume);
        }
    }
    return go_to_rip(vcpu);
}

/* STI, and an interrupt may be waiting: it comes after one more instruction. */
static uint64_t interrupts_allowed(struct vcpu *vcpu, const struct site *site)
{
    vcpu_recheck_interrupts(vcpu);
    if (!atomic_load_explicit(&vcpu->requests, memory_order_relaxed))
        return code_address(vcpu, site->resume);
    leave_at(vcpu, site);
    vcpu->rip = vcpu->translate.rip_page + (uint64_t)site->target;
    vcpu->interrupt_shadow = true;
    if (is_counting(vcpu))
        vcpu_count(vcpu, 1);
    return 0;
}

/* At a translation's start: something is asked of the vcpu, or the translation is dead. */
static uint64_t start_refused(struct vcpu *vcpu, const struct site *site)
{
    leave_at(vcpu, site);
    if (site->translation->valid)
        return 0;
    jump_forget(vcpu, vcpu->rip);
    if (is_counting(vcpu))
        return 0;
    translate_flags_compose(vcpu);
    return go_to_rip(vcpu);
}

uint64_t translate_event(struct vcpu *vcpu, struct site *site, uint64_t address)
{
    struct translator *translator = vcpu->translate.shared;
    /* Another vcpu may just have made the site, and the jump that led to it. */
    atomic_load_explicit(&translator->links, memory_order_acquire);
    atomic_fetch_add_explicit(&translator->events[site->kind], 1, memory_order_relaxed);
    switch ((enum site_kind)site->kind) {
    case SITE_READ:
    case SITE_WRITE:
        return access_missed(vcpu, site, address);
    case SITE_JUMP:
        return branch_missed(vcpu, site);
    case SITE_LOOKUP:
        return indirect_missed(vcpu, site, address);
    case SITE_LOAD_VECTORS:
    case SITE_LOAD_X87:
        return load_vectors(vcpu, site);
    case SITE_OPERATION:
        return operation(vcpu, site);
    case SITE_WINDOW:
        return interrupts_allowed(vcpu, site);
    case SITE_REQUESTS:
        return start_refused(vcpu, site);
    default: /* INTERPRET, FAULT */
        return leave_to_interpreter(vcpu, site);
    }
}
