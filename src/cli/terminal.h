/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's serial port on standard input and output. A terminal is put into raw mode, and given
 * back as it was on every way out; Ctrl-A is the escape. Other input is fed to the guest as fast as
 * it reads.
 */
#ifndef NACRE_CLI_TERMINAL_H
#define NACRE_CLI_TERMINAL_H

#include "base/loop.h"
#include "vm/vm.h"

struct terminal;

/* quit: the user asks to end (Ctrl-A x). On the loop's thread. */
struct terminal *terminal_create(struct loop *loop, bool use_input, void (*quit)(void *opaque),
                                 void *opaque, struct error *error);
/* Gives the terminal back as it was; NULL is allowed here and in terminal_destroy(). */
void terminal_restore(struct terminal *terminal);
/* Restores, too. No vcpu may run any more. */
void terminal_destroy(struct terminal *terminal);

/*
 * Enters raw mode and connects the guest's side; input flows from then on. output_fd becomes the
 * terminal's unless it is standard output. -errno with *error.
 */
int terminal_attach(struct terminal *terminal, struct serial *serial, int output_fd,
                    struct error *error);

/* For struct serial_config. */
void terminal_transmit(void *opaque, uint8_t byte);
void terminal_drained(void *opaque);

#endif
