/* SPDX-License-Identifier: Apache-2.0 */
/*
 * small_guest IMAGE PROCESSORS ENGINE: boots a guest of guest/system on bare processors: memory,
 * local APICs, a transmitter at COM1 and a power-off port, and no machine around them. When a guest
 * fails here, the processor is to blame. Exit status 0: all its checks passed.
 */
#include "bus/bus.h"
#include "cpu/apic.h"
#include "cpu/control.h"
#include "cpu/engine.h"
#include "cpu/vcpu.h"

#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MEMORY_SIZE = 64 << 20, IMAGE_MAX = 1 << 20, COM1 = 0x3f8, PM1_CONTROL = 0x604 };

struct board {
    struct memory *memory;
    struct loop *loop;
    struct bus bus;
    struct vcpu_group group;
    struct bus_region serial, power;
    pthread_t loop_thread, vcpu_threads[VCPU_COUNT_MAX];
    char line[512];
    size_t line_length;
    unsigned passed, failed;
    bool ended;
    _Atomic bool stopping;
};

static void require(bool condition, const char *what, const struct error *error)
{
    if (condition)
        return;
    fprintf(stderr, "small_guest: %s: %s\n", what, error ? error->message : "failed");
    exit(2);
}

static void line_end(struct board *board)
{
    board->line[board->line_length] = 0;
    board->line_length = 0;
    puts(board->line);
    board->passed += !strncmp(board->line, "PASS ", 5);
    board->failed += !strncmp(board->line, "FAIL ", 5);
    board->ended |= !strcmp(board->line, "END");
}

static uint64_t serial_read(void *opaque, uint64_t offset, unsigned size)
{
    return offset == 5 ? 0x60 : 0; /* line status: transmitter empty */
}

static void serial_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct board *board = opaque;
    if (offset)
        return;
    if (value == '\n' || board->line_length == sizeof(board->line) - 1)
        line_end(board);
    else
        board->line[board->line_length++] = (char)value;
}

static void power_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct board *board = opaque;
    atomic_store(&board->stopping, true);
    for (unsigned i = 0; i < board->group.count; i++)
        vcpu_request(board->group.vcpus[i], VCPU_REQUEST_STOP);
}

static const struct bus_ops serial_ops = {serial_read, serial_write};
static const struct bus_ops power_ops = {serial_read, power_write};

static void message_sink(void *opaque, uint64_t address, uint32_t data)
{
    apic_deliver_message(opaque, address, data);
}

static void *loop_main(void *opaque)
{
    loop_run(opaque);
    return NULL;
}

static void *vcpu_main(void *opaque)
{
    struct vcpu *vcpu = opaque;
    struct board *board = (struct board *)((uint8_t *)vcpu->group - offsetof(struct board, group));
    while (!atomic_load(&board->stopping)) {
        enum vcpu_exit exit = vcpu->engine->run(vcpu);
        if (exit == VCPU_EXIT_HALT)
            vcpu_wait(vcpu);
        if (exit == VCPU_EXIT_SHUTDOWN || exit == VCPU_EXIT_ERROR) {
            char text[2048];
            vcpu_describe(vcpu, text, sizeof(text));
            printf("FAIL vcpu %u: %s %s\n%s\n", vcpu->index,
                   exit == VCPU_EXIT_SHUTDOWN ? "triple fault" : "engine error",
                   vcpu->error.message, text);
            board->failed++;
            power_write(board, 0, 0, 2);
        }
    }
    return NULL;
}

/* Loads the program headers of a 32- or 64-bit ELF; returns the entry of its PVH note. */
#define DEFINE_LOAD(bits)                                                                          \
    static uint32_t load##bits(struct memory *memory, const uint8_t *image, size_t size)           \
    {                                                                                              \
        const Elf##bits##_Ehdr *header = (const void *)image;                                      \
        uint32_t entry = 0;                                                                        \
        for (unsigned i = 0; i < header->e_phnum; i++) {                                           \
            const Elf##bits##_Phdr *program =                                                      \
                (const void *)(image + header->e_phoff + i * sizeof(*program));                    \
            require(program->p_offset + program->p_filesz <= size, "segment past the file", NULL); \
            if (program->p_type == PT_LOAD)                                                        \
                memory_write(memory, program->p_paddr, image + program->p_offset,                  \
                             program->p_filesz);                                                   \
            if (program->p_type == PT_NOTE)                                                        \
                memcpy(&entry, image + program->p_offset + 16, 4);                                 \
        }                                                                                          \
        return entry;                                                                              \
    }
DEFINE_LOAD(32)
DEFINE_LOAD(64)

static uint32_t image_load(struct memory *memory, const char *path)
{
    uint8_t *image = malloc(IMAGE_MAX);
    FILE *file = fopen(path, "rb");
    require(image && file, path, NULL);
    size_t size = fread(image, 1, IMAGE_MAX, file);
    fclose(file);
    require(size > sizeof(Elf64_Ehdr) && !memcmp(image, ELFMAG, SELFMAG), "not an ELF file", NULL);
    uint32_t entry = (image[EI_CLASS] == ELFCLASS64 ? load64 : load32)(memory, image, size);
    free(image);
    return entry;
}

/* PVH: 32-bit protected mode, flat segments, paging off. */
static void enter_pvh(struct vcpu *vcpu, uint32_t entry)
{
    const uint16_t flat = SEGMENT_PRESENT | SEGMENT_NON_SYSTEM | SEGMENT_WRITABLE |
                          SEGMENT_ACCESSED | SEGMENT_BIG | SEGMENT_GRANULARITY;
    for (int i = 0; i < SEG_COUNT; i++)
        vcpu->segments[i] =
            (struct segment){.limit = 0xffffffff, .selector = 16, .attributes = flat};
    vcpu->segments[SEG_CS].selector = 8;
    vcpu->segments[SEG_CS].attributes = flat | SEGMENT_CODE;
    vcpu->cr0 = CR0_PE | CR0_ET;
    vcpu->rip = entry;
    vcpu_update_mode(vcpu);
}

static const struct engine_ops *find_engine(const char *name)
{
    unsigned i = 0;
    while (engines[i] && strcmp(engines[i]->name, name) != 0)
        i++;
    require(engines[i] != NULL, name, NULL);
    return engines[i];
}

static struct board *board_create(unsigned processors, const struct engine_ops *engine)
{
    struct board *board = calloc(1, sizeof(*board));
    struct error error = {0};
    require(board != NULL, "memory", NULL);
    board->memory = memory_create(MEMORY_SIZE, &error);
    require(board->memory != NULL, "memory", &error);
    board->loop = loop_create(&error);
    require(board->loop != NULL, "loop", &error);
    require(!bus_init(&board->bus, board->memory, board->loop, NULL, &error), "bus", &error);
    board->serial = (struct bus_region){"com1", BUS_PORT, COM1, 8, 1, &serial_ops, board};
    board->power = (struct bus_region){"power", BUS_PORT, PM1_CONTROL, 2, 2, &power_ops, board};
    require(!bus_add_region(&board->bus, &board->serial, &error), "serial port", &error);
    require(!bus_add_region(&board->bus, &board->power, &error), "power port", &error);
    board->bus.message_sink = message_sink;
    board->bus.message_opaque = &board->group;
    pthread_mutex_init(&board->group.split_lock, NULL);
    for (unsigned i = 0; i < processors; i++) {
        struct vcpu *vcpu =
            vcpu_create(&board->group, &board->bus, cpu_model_find(CPU_MODEL_DEFAULT), &error);
        require(vcpu != NULL, "vcpu", &error);
        vcpu->engine = engine;
        require(!vcpu->engine->create(vcpu, &error), "engine", &error);
    }
    return board;
}

static void board_destroy(struct board *board)
{
    for (unsigned i = 0; i < board->group.count; i++)
        vcpu_destroy(board->group.vcpus[i]);
    bus_destroy(&board->bus);
    loop_destroy(board->loop);
    memory_destroy(board->memory);
    free(board);
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: small_guest IMAGE PROCESSORS ENGINE\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    struct board *board = board_create((unsigned)atoi(argv[2]), find_engine(argv[3]));
    enter_pvh(board->group.vcpus[0], image_load(board->memory, argv[1]));
    alarm(60); /* a guest that hangs is a failure, not a wait */
    pthread_create(&board->loop_thread, NULL, loop_main, board->loop);
    for (unsigned i = 0; i < board->group.count; i++)
        pthread_create(&board->vcpu_threads[i], NULL, vcpu_main, board->group.vcpus[i]);
    for (unsigned i = 0; i < board->group.count; i++)
        pthread_join(board->vcpu_threads[i], NULL);
    loop_stop(board->loop);
    pthread_join(board->loop_thread, NULL);
    bool good = board->ended && board->passed && !board->failed;
    printf("%u passed, %u failed%s\n", board->passed, board->failed,
           board->ended ? "" : ", and it did not reach its end");
    board_destroy(board);
    return good ? 0 : 1;
}
