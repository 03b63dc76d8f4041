/* SPDX-License-Identifier: Apache-2.0 */
/* Selectors of the runtime's GDT; for C and assembly. */
#ifndef RUNTIME_LAYOUT_H
#define RUNTIME_LAYOUT_H

#define SELECTOR_CODE        0x08
#define SELECTOR_DATA        0x10
#define SELECTOR_USER_CODE32 0x1b
#define SELECTOR_USER_DATA   0x23
#define SELECTOR_USER_CODE   0x2b
#define SELECTOR_TSS         0x30 /* two entries in a 64-bit guest */
#define SELECTOR_FREE        0x40 /* the first entry that tests may fill */

#define VECTOR_COUNT     256
#define VECTOR_USER_EXIT 0x30 /* user code leaves through this software interrupt */

#endif
