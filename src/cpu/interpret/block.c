/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/interpret/block.h"

#include <stdlib.h>

struct interpreter *interpreter_create(void)
{
    struct interpreter *interpreter = calloc(1, sizeof(*interpreter));
    if (!interpreter)
        return NULL;
    interpreter->scratch = malloc(sizeof(struct block) + (BLOCK_OPS_MAX + 1) * sizeof(struct op));
    if (!interpreter->scratch) {
        free(interpreter);
        return NULL;
    }
    return interpreter;
}

static void arena_free(struct interpreter *interpreter)
{
    while (interpreter->chunks) {
        struct arena_chunk *next = interpreter->chunks->next;
        free(interpreter->chunks);
        interpreter->chunks = next;
    }
    __atomic_store_n(&interpreter->arena_bytes, 0, __ATOMIC_RELAXED);
}

void interpreter_destroy(struct interpreter *interpreter)
{
    if (!interpreter)
        return;
    arena_free(interpreter);
    free(interpreter->scratch);
    free(interpreter);
}

void block_drop_all(struct interpreter *interpreter)
{
    memset(interpreter->jumps, 0, sizeof(interpreter->jumps));
    memset(interpreter->hash, 0, sizeof(interpreter->hash));
    memset(interpreter->pages, 0, sizeof(interpreter->pages));
    interpreter->chain_from = NULL;
    arena_free(interpreter);
}

static void *arena_take(struct interpreter *interpreter, size_t size)
{
    size = align_up(size, 16);
    struct arena_chunk *chunk = interpreter->chunks;
    if (!chunk || chunk->used + size > BLOCK_ARENA_CHUNK) {
        if (interpreter->arena_bytes >= BLOCK_ARENA_MAX)
            block_drop_all(interpreter);
        chunk = malloc(sizeof(*chunk) + BLOCK_ARENA_CHUNK);
        if (!chunk)
            return NULL;
        chunk->next = interpreter->chunks;
        chunk->used = 0;
        interpreter->chunks = chunk;
        __atomic_store_n(&interpreter->arena_bytes, interpreter->arena_bytes + BLOCK_ARENA_CHUNK,
                         __ATOMIC_RELAXED);
    }
    void *memory = chunk->bytes + chunk->used;
    chunk->used += size;
    return memory;
}

static unsigned hash_gpa(uint64_t gpa, uint32_t code_mode)
{
    return (unsigned)((gpa ^ gpa >> 14 ^ code_mode << 5) % BLOCK_HASH_SIZE);
}

static struct block_link **page_list(struct interpreter *interpreter, uint64_t gpa_page)
{
    return &interpreter->pages[(gpa_page >> PAGE_SHIFT) % BLOCK_PAGES_SIZE];
}

struct block *block_find(struct interpreter *interpreter, uint64_t gpa, uint32_t code_mode)
{
    struct block *block = interpreter->hash[hash_gpa(gpa, code_mode)];
    while (block && (block->gpa != gpa || block->code_mode != code_mode))
        block = block->hash_next;
    return block;
}

static void link_page(struct interpreter *interpreter, struct block_link *link, struct block *block,
                      uint64_t page)
{
    struct block_link **list = page_list(interpreter, page);
    *link = (struct block_link){.block = block, .page = page, .next = *list};
    *list = link;
}

struct block *block_add(struct interpreter *interpreter, uint64_t gpa, uint64_t second_page,
                        uint32_t code_mode, const struct op *ops, unsigned op_count)
{
    size_t ops_size = (op_count + 1) * sizeof(struct op);
    /* In one piece, so that the arena cannot be emptied between block and links. */
    struct {
        struct block_link links[2];
        struct block block;
    } *piece = arena_take(interpreter, sizeof(*piece) + ops_size);
    if (!piece)
        return NULL;
    struct block *block = &piece->block;
    *block = (struct block){.gpa = gpa,
                            .second_page = second_page,
                            .code_mode = code_mode,
                            .op_count = (uint16_t)op_count};
    memcpy(block->ops, ops, ops_size);
    link_page(interpreter, &piece->links[0], block, gpa & PAGE_MASK);
    if (second_page != NO_SECOND_PAGE)
        link_page(interpreter, &piece->links[1], block, second_page);
    struct block **bucket = &interpreter->hash[hash_gpa(gpa, code_mode)];
    block->hash_next = *bucket;
    *bucket = block;
    __atomic_store_n(&interpreter->blocks_decoded, interpreter->blocks_decoded + 1,
                     __ATOMIC_RELAXED);
    return block;
}

static void block_unhash(struct interpreter *interpreter, struct block *block)
{
    struct block **link = &interpreter->hash[hash_gpa(block->gpa, block->code_mode)];
    while (*link && *link != block)
        link = &(*link)->hash_next;
    if (*link)
        *link = block->hash_next;
}

void block_drop_page(struct interpreter *interpreter, uint64_t gpa_page)
{
    struct block_link **link = page_list(interpreter, gpa_page);
    interpreter->chain_from = NULL;
    while (*link) {
        if ((*link)->page != gpa_page) {
            link = &(*link)->next;
            continue;
        }
        struct block *block = (*link)->block;
        *link = (*link)->next;
        if (block->code_mode == BLOCK_MODE_NONE)
            continue; /* dropped before, by its other page */
        block_unhash(interpreter, block);
        block->code_mode = BLOCK_MODE_NONE; /* jump cache entries that name it stop matching */
    }
}
