/* SPDX-License-Identifier: Apache-2.0 */
/* A small vocabulary of ACPI Machine Language: what our DSDT needs and no more. ACPI 6.4 §20.2. */
#ifndef NACRE_BOOT_AML_H
#define NACRE_BOOT_AML_H

#include <stddef.h>
#include <stdint.h>

#define AML_SIZE_MAX 16384

struct aml {
    uint8_t bytes[AML_SIZE_MAX];
    size_t length;
};

/* Objects that contain others: begin, their content, aml_end(what begin returned). Names are four
 * letters, or "\\_SB_". */
size_t aml_begin_scope(struct aml *aml, const char *name);
size_t aml_begin_device(struct aml *aml, const char *name);
size_t aml_begin_package(struct aml *aml, unsigned element_count);
size_t aml_begin_method(struct aml *aml, const char *name, unsigned argument_count);
/* What is inside happens when the named integer is not 0. */
size_t aml_begin_if(struct aml *aml, const char *name);
/* A _CRS: resource descriptors between begin and end. */
size_t aml_begin_resources(struct aml *aml);
void aml_end(struct aml *aml, size_t begin);
void aml_end_resources(struct aml *aml, size_t begin);

/* In a method: puts its first argument into the name; ends it with the value of the name. */
void aml_store_argument(struct aml *aml, const char *name);
void aml_return(struct aml *aml, const char *name);
/* Tells the driver of \scope.device that `value` has happened to it. */
void aml_notify(struct aml *aml, const char *scope, const char *device, unsigned value);

/* The same of a device in reach of its bare name. */
void aml_notify_near(struct aml *aml, const char *device, unsigned value);
/* Calls \\a.b.method. */
void aml_call(struct aml *aml, const char *a, const char *b, const char *method);
/* In a method: puts a name's value into its first local variable; a number into a name. */
void aml_store_local(struct aml *aml, const char *name);
void aml_store_integer(struct aml *aml, uint64_t value, const char *name);
/* What is inside happens when the first local variable has a bit of the mask. */
size_t aml_begin_if_local(struct aml *aml, uint64_t mask);
/* I/O ports as a region, and 32-bit fields in it, one behind the other. */
void aml_port_region(struct aml *aml, const char *name, uint16_t port, unsigned length);
void aml_fields32(struct aml *aml, const char *region, const char *const *names, unsigned count);

/* Name(name, ...): the value follows with one of the next functions. */
void aml_name(struct aml *aml, const char *name);
void aml_integer(struct aml *aml, uint64_t value);
void aml_string(struct aml *aml, const char *text);
/* "PNP0A03" as the compressed number. */
void aml_eisa_id(struct aml *aml, const char *id);

/* Resource descriptors. ACPI 6.4 §6.4. */
void aml_io(struct aml *aml, uint16_t base, uint8_t length);
void aml_irq(struct aml *aml, unsigned line);
void aml_bus_range(struct aml *aml, uint16_t first, uint16_t last);
void aml_io_range(struct aml *aml, uint16_t first, uint16_t last);
void aml_memory_fixed(struct aml *aml, uint32_t base, uint32_t size);
void aml_memory_range(struct aml *aml, uint32_t first, uint32_t last);
void aml_memory_range64(struct aml *aml, uint64_t first, uint64_t last);

#endif
