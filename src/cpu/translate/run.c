/* SPDX-License-Identifier: Apache-2.0 */
/* The translator's loop: what the interpreter's does too, with emitted code in the middle. */
#include "cpu/engine.h"
#include "cpu/exception.h"
#include "cpu/interpret/single.h"
#include "cpu/translate/event.h"
#include "cpu/translate/fault.h"
#include "cpu/translate/jump.h"
#include "cpu/translate/perf_map.h"
#include "cpu/translate/stubs.h"
#include "cpu/translate/vector.h"

#include <cpuid.h>
#include <errno.h>
#include <stdlib.h>

#define HOST_MXCSR      0x1f80u
#define CPUID7_EBX_BMI2 BIT(8)

static int translate_probe(struct error *error)
{
    unsigned eax, ebx, ecx, edx;
    if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) || !(ebx & CPUID7_EBX_BMI2))
        return error_set(error, ENOTSUP, "the translator needs a host CPU with BMI2");
    if (!gs_base_usable())
        return error_set(error, ENOTSUP,
                         "the translator needs FSGSBASE: a host CPU and kernel "
                         "(Linux 5.9) that have it");
    return 0;
}

/* Guest code has changed: on the writer's thread. Its vcpus are told by their mailboxes. */
static void code_written(void *opaque, uint64_t gpa_page)
{
    struct translator *translator = opaque;
    pthread_mutex_lock(&translator->lock);
    translator_drop_page(translator, gpa_page);
    pthread_mutex_unlock(&translator->lock);
}

static struct translator *translator_join(struct vcpu *vcpu, struct error *error)
{
    struct vcpu_group *group = vcpu->group;
    if (!group->translator) {
        const struct engine_options *options = group->engine_options;
        uint64_t size = options ? options->code_cache_bytes : CODE_CACHE_DEFAULT;
        struct translator *translator = translator_create(size, vcpu->model, error);
        if (!translator)
            return NULL;
        if (options && options->perf_map && !(translator->perf_map = perf_map_open(error))) {
            translator_destroy(translator);
            return NULL;
        }
        translator->observer =
            (struct memory_observer){.code_written = code_written, .opaque = translator};
        memory_add_observer(vcpu->memory, &translator->observer);
        group->translator = translator;
    }
    group->translator->users++;
    return group->translator;
}

static void translator_part(struct vcpu *vcpu)
{
    struct translator *translator = vcpu->group->translator;
    if (--translator->users)
        return;
    memory_remove_observer(vcpu->memory, &translator->observer);
    translator_destroy(translator);
    vcpu->group->translator = NULL;
}

static void translate_destroy(struct vcpu *vcpu)
{
    struct translate_state *state = &vcpu->translate;
    if (!state->shared)
        return;
    translator_part(vcpu);
    free(state->fault_site);
    fault_thread_release(vcpu);
    memset(state, 0, offsetof(struct translate_state, jumps));
    vcpu->engine_data[ENGINE_TRANSLATE] = NULL;
}

static int translate_create(struct vcpu *vcpu, struct error *error)
{
    struct translate_state *state = &vcpu->translate;
    int result = fault_handlers_install(error);
    if (result == 0 && !vcpu->engine_data[ENGINE_INTERPRET])
        result = engine_interpret.create(vcpu, error);
    if (result < 0)
        return result;
    state->fault_site = calloc(1, sizeof(*state->fault_site));
    state->shared = state->fault_site ? translator_join(vcpu, error) : NULL;
    if (!state->shared) {
        if (!state->fault_site)
            error_set(error, ENOMEM, "vcpu %u: out of memory", vcpu->index);
        free(state->fault_site);
        state->fault_site = NULL;
        return -ENOMEM;
    }
    state->fault_site->kind = SITE_FAULT;
    state->self = vcpu;
    vcpu->engine_data[ENGINE_TRANSLATE] = state->shared;
    jump_clear(vcpu);
    return 0;
}

/* Did a translation have a window in the page, and may have written there unnoticed? */
static bool take_window(struct vcpu *vcpu, uint64_t gpa_page)
{
    uintptr_t page = (uintptr_t)memory_hva(vcpu->memory, gpa_page, PAGE_SIZE);
    bool found = false;
    /* ROM, which has none: an empty window must not be taken for one there. */
    for (unsigned i = 0; page && i < TRANSLATE_WINDOWS; i++) {
        if (vcpu->translate.windows[i] - page >= PAGE_SIZE)
            continue;
        vcpu->translate.windows[i] = 0;
        found = true;
    }
    return found;
}

static void translate_invalidate(struct vcpu *vcpu, uint64_t gpa_page)
{
    struct translator *translator = vcpu->translate.shared;
    if (gpa_page != ~UINT64_C(0)) {
        /* code_written() has dropped the translations; slots that lead to them find out. */
        if (take_window(vcpu, gpa_page))
            memory_code_changed(vcpu->memory, gpa_page);
        return;
    }
    pthread_mutex_lock(&translator->lock);
    translator_drop_all(translator);
    pthread_mutex_unlock(&translator->lock);
    jump_clear(vcpu);
}

/* Sends every vcpu out of emitted code, and empties the cache. */
static void empty_cache(struct vcpu *vcpu)
{
    struct translator *translator = vcpu->translate.shared;
    for (unsigned i = 0; i < vcpu->group->count; i++)
        if (vcpu->group->vcpus[i] != vcpu)
            vcpu_request(vcpu->group->vcpus[i], VCPU_REQUEST_CODE);
    pthread_rwlock_wrlock(&translator->inside);
    pthread_mutex_lock(&translator->lock);
    if (translator_is_full(translator))
        translator_empty(translator);
    pthread_mutex_unlock(&translator->lock);
    pthread_rwlock_unlock(&translator->inside);
    vcpu->translate.cache_full = false;
}

/* Runs emitted code from rip until it leaves. */
static void run_emitted(struct vcpu *vcpu)
{
    struct translate_state *state = &vcpu->translate;
    struct translator *translator = state->shared;
    pthread_rwlock_rdlock(&translator->inside);
    if (state->flushes != atomic_load(&translator->flushes)) {
        state->flushes = atomic_load(&translator->flushes);
        jump_clear(vcpu);
    }
    uint64_t code = translate_lookup(vcpu);
    if (code) {
        enter_function *enter =
            (enter_function *)(uintptr_t)translator_code(translator, translator->enter);
        translate_flags_park(vcpu);
        state->target = code;
        enter(vcpu);
        translate_flags_compose(vcpu);
        translate_vector_drop(vcpu);
    }
    pthread_rwlock_unlock(&translator->inside);
}

static void interpret(struct vcpu *vcpu)
{
    translate_x87_save(vcpu);
    if (vcpu->translate.interpret_next || vcpu->interrupt_shadow)
        interpret_one(vcpu);
    else
        interpret_until(vcpu, jump_mode_known);
    vcpu->translate.interpret_next = false;
    translate_vector_update(vcpu);
}

static enum vcpu_exit translate_loop(struct vcpu *vcpu)
{
    struct translate_state *state = &vcpu->translate;
    bool look = true; /* at the requests, even when none is set: the vcpu may be halted */
    for (;;) {
        if (unlikely(vcpu->exception.pending)) {
            state->interpret_next = false;
            if (!exception_deliver(vcpu))
                return VCPU_EXIT_SHUTDOWN;
        }
        if (state->interpret_next) { /* before an interrupt moves rip */
            interpret(vcpu);
            continue;
        }
        if (unlikely(look || atomic_load_explicit(&vcpu->requests, memory_order_relaxed))) {
            bool stop = false;
            look = false;
            enum vcpu_exit exit = vcpu_service_requests(vcpu, &stop);
            if (exit != VCPU_EXIT_NONE || stop)
                return exit;
        }
        if (unlikely(vcpu->instruction_count >= vcpu->instruction_budget))
            return VCPU_EXIT_SWITCH;
        if (unlikely(state->cache_full))
            empty_cache(vcpu);
        if (unlikely(vcpu->interrupt_shadow || !jump_mode_known(vcpu)))
            interpret(vcpu);
        else
            run_emitted(vcpu);
    }
}

static enum vcpu_exit translate_run(struct vcpu *vcpu)
{
    uint64_t old_base = gs_base_read();
    if (!vcpu->translate.thread_ready && fault_thread_prepare(vcpu, &vcpu->error) < 0)
        return VCPU_EXIT_ERROR;
    gs_base_write((uintptr_t)vcpu);
    translate_vector_update(vcpu);
    enum vcpu_exit exit = translate_loop(vcpu);
    translate_x87_save(vcpu);
    __builtin_ia32_ldmxcsr(HOST_MXCSR);
    gs_base_write(old_base);
    return exit;
}

static const char *const site_names[SITE_KIND_COUNT] = {
    [SITE_READ] = "misses of reads",
    [SITE_WRITE] = "misses of writes",
    [SITE_JUMP] = "branches linked",
    [SITE_LOOKUP] = "indirect branches looked up",
    [SITE_REQUESTS] = "exits for requests",
    [SITE_LOAD_VECTORS] = "loads of vector registers",
    [SITE_LOAD_X87] = "loads of x87 registers",
    [SITE_OPERATION] = "operations by handlers",
    [SITE_WINDOW] = "interrupts that waited for STI",
    [SITE_INTERPRET] = "instructions interpreted",
    [SITE_FAULT] = "host faults",
};

static void translate_stats(struct vcpu *vcpu, FILE *stream)
{
    struct translator *translator = vcpu->translate.shared;
    fprintf(stream, "jump slot flushes: %llu\n",
            (unsigned long long)__atomic_load_n(&vcpu->translate.jump_clears, __ATOMIC_RELAXED));
    if (vcpu->index)
        return; /* the cache and its counters are everybody's */
    pthread_mutex_lock(&translator->lock);
    fprintf(stream, "translations: %llu\ninstructions translated: %llu\nbytes of code: %u\n",
            (unsigned long long)translator->translations,
            (unsigned long long)translator->instructions, translator->used);
    fprintf(stream, "translations dropped: %llu\ntranslations refused: %llu\ncache flushes: %llu\n",
            (unsigned long long)translator->dropped, (unsigned long long)translator->refused,
            (unsigned long long)atomic_load(&translator->flushes));
    pthread_mutex_unlock(&translator->lock);
    for (unsigned i = 0; i < SITE_KIND_COUNT; i++)
        fprintf(stream, "%s: %llu\n", site_names[i],
                (unsigned long long)atomic_load(&translator->events[i]));
}

const struct engine_ops engine_translate = {
    .name = "translate",
    .summary = "binary translation: guest code runs as host code behind a software MMU",
    .index = ENGINE_TRANSLATE,
    .create = translate_create,
    .destroy = translate_destroy,
    .run = translate_run,
    .thread_start = fault_thread_prepare,
    .invalidate = translate_invalidate,
    .probe = translate_probe,
    .stats = translate_stats,
};
