/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The code cache: translations shared by all vcpus of a VM, found by guest physical address and
 * mode. The code lies in one memfd mapped twice: writable here, executable there, never both.
 * translator->lock guards everything but the executable bytes; those are changed only in aligned
 * four-byte jumps while vcpus run them.
 */
#ifndef NACRE_CPU_TRANSLATE_CACHE_H
#define NACRE_CPU_TRANSLATE_CACHE_H

#include "cpu/interpret/op.h"
#include "cpu/vcpu.h"

#define TRANSLATION_HASH  262144u
#define TRANSLATION_PAGES 16384u
#define ENTRY_ALIGNMENT   8 /* of the parked entry: it is changed by one store when it dies */
/* Beside CODE_MODE_*, in a translation's mode: */
#define MODE_SINGLE      BIT(24) /* every memory access has a check of its own */
#define MODE_LIMIT_SHIFT 16      /* bits 16 to 21: most instructions it may have; 0: any number */
#define NO_PAGE          (~UINT64_C(0))

/* Why emitted code calls C. */
enum site_kind {
    SITE_READ,         /* TLB miss: S0 holds the gva; resumes with S0 = hva */
    SITE_WRITE,        /* the same for stores and read-modify-write */
    SITE_JUMP,         /* direct branch within the page, not yet linked */
    SITE_LOOKUP,       /* gva of the target in S0: not in the jump slots */
    SITE_REQUESTS,     /* vcpu->requests is not zero; at a translation's start */
    SITE_LOAD_VECTORS, /* vector registers are not in the host's; at a translation's start */
    SITE_LOAD_X87,     /* likewise */
    SITE_OPERATION,    /* an instruction done by one of the interpreter's handlers */
    SITE_WINDOW,       /* STI, and an interrupt may be waiting */
    SITE_INTERPRET,    /* an instruction the interpreter must decode itself */
    SITE_FAULT,        /* a host signal met an instruction */
    SITE_KIND_COUNT,
};

/* One place in a translation that may call C. */
struct site {
    uint8_t kind;
    uint16_t size;    /* READ, WRITE: bytes */
    bool masked;      /* READ, WRITE: the instruction's mask says which parts are touched */
    bool run;         /* READ, WRITE: of a window; without it, another translation goes on */
    bool parked;      /* JUMP: the flags are parked there */
    bool vectors;     /* OPERATION: the handler reads or changes vcpu->xsave */
    bool last;        /* OPERATION: nothing of the translation follows it */
    uint8_t executed; /* instructions of the translation that are done when it is reached */
    uint16_t index;   /* in translation->sites */
    uint16_t offset;  /* of the guest instruction in its page */
    uint32_t mode;    /* JUMP: of the target */
    int32_t target;   /* JUMP: offset of the target in the page; OPERATION, WINDOW: of the next
                           instruction; LOOKUP: added to RSP when the target is no address */
    uint32_t resume;  /* READ, WRITE, OPERATION: cache offset where to go on, flags parked */
    uint32_t patch;   /* JUMP, windows: cache offset of the displacement */
    uint32_t stub;    /* JUMP, REQUESTS: cache offset of the detour; windows: of the stub */
    struct translation *linked;      /* JUMP, windows: where it goes now, or NULL */
    struct site *next_incoming;      /* among the sites linked to the same translation */
    struct translation *translation; /* that it belongs to */
    struct op *ops;                  /* OPERATION: the instruction and a block_end */
};

/* Where a guest instruction's code starts: for host faults and statistics. */
struct instruction_mark {
    uint16_t host;   /* bytes from the translation's start */
    uint16_t offset; /* in the guest page */
    bool parked;     /* where the flags are when it runs */
};

/* Says that a translation has bytes in a page. */
struct page_link {
    struct translation *translation;
    uint64_t page;
    struct page_link *next;
};

struct translation {
    uint64_t gpa;
    uint64_t second_page; /* gpa of the page the only instruction runs into, or NO_PAGE */
    uint32_t mode;
    uint32_t start, end;           /* cache offsets */
    uint32_t native, parked, body; /* entries: see build_entries() */
    atomic_bool valid;             /* vcpus that run it look at this without the lock */
    bool xmm, ymm, zmm, x87; /* registers that must be in the host's; zmm implies ymm implies xmm */
    uint16_t instruction_count, site_count;
    struct instruction_mark *marks;
    struct site *sites;
    struct site *incoming;
    struct translation *hash_next;
    struct page_link links[2]; /* of the first and the second page */
};

struct arena_chunk;

struct translator {
    pthread_mutex_t lock;
    pthread_rwlock_t
        inside;     /* read-locked by vcpus in emitted code; write-locked to empty the cache */
    unsigned users; /* vcpus */
    int fd;
    uint8_t *writable;
    const uint8_t *executable;
    uint32_t size, used;
    uint32_t stubs_end; /* code before this offset stays when the cache is emptied */
    uint32_t enter, event_native, event_parked; /* cache offsets of the stubs */
    struct translation *hash[TRANSLATION_HASH];
    struct page_link *pages[TRANSLATION_PAGES];
    struct translation **ordered; /* by start, for host faults */
    _Atomic uint32_t ordered_count;
    uint32_t ordered_capacity;
    struct arena_chunk *chunks;
    size_t arena_bytes;
    struct memory_observer observer;
    struct scan *scan; /* work areas of the translation being made */
    struct builder *builder;
    struct checker *checker;
    _Atomic uint64_t flushes;
    _Atomic uint64_t links; /* made so far: before the jump that leads to what was made before it */
    FILE *perf_map;         /* where translations are named, or NULL */
    uint64_t translations, instructions, dropped;
    uint64_t refused; /* translations that the checker did not let pass */
    _Atomic uint64_t events[SITE_KIND_COUNT];
};

/* A translator for vcpus of the model, with its stubs. NULL with *error. */
struct translator *translator_create(uint64_t code_bytes, const struct cpu_model *model,
                                     struct error *error);
void translator_destroy(struct translator *translator);

static inline const void *translator_code(const struct translator *translator, uint32_t offset)
{
    return translator->executable + offset;
}

/* All below: with the lock held. */

/* second_page: gpa of the page that the only instruction runs into, or NO_PAGE. */
struct translation *translation_find(const struct translator *translator, uint64_t gpa,
                                     uint64_t second_page, uint32_t mode);
/* Memory that lives until the cache is emptied; NULL: none left. */
void *translator_take(struct translator *translator, size_t size);
/* Gives back all that was taken since the mark was made, for a translation that came to nothing. */
struct arena_mark {
    struct arena_chunk *chunk;
    size_t used;
};
struct arena_mark translator_mark(const struct translator *translator);
void translator_release(struct translator *translator, struct arena_mark mark);
/* Puts a finished translation (code at start..end) where it is found. */
void translation_add(struct translator *translator, struct translation *translation);
/* Lets the direct branch of `site`, or a window that cannot be had, go straight to `to`. */
void site_link(struct translator *translator, struct site *site, struct translation *to);
/* Drops what has bytes in the physical page: nothing leads there any more but jump slots. */
void translator_drop_page(struct translator *translator, uint64_t gpa_page);
/* The same for all pages. */
void translator_drop_all(struct translator *translator);
/* Empties the cache. No vcpu may be in emitted code. */
void translator_empty(struct translator *translator);
/* True when the next translation might not fit. */
bool translator_is_full(const struct translator *translator);

/* The translation that a host address lies in, or NULL. Needs no lock. */
const struct translation *translator_at(const struct translator *translator, uint64_t pc);

#endif
