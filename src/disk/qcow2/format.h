/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a qcow2 file looks like: offsets and bits. The format's specification is docs/interop/qcow2
 * of the QEMU project, versions 2 and 3. All numbers are big-endian.
 */
#ifndef NACRE_DISK_QCOW2_FORMAT_H
#define NACRE_DISK_QCOW2_FORMAT_H

#include "base/bits.h"

#define QCOW2_MAGIC UINT32_C(0x514649fb)

enum {
    HEADER_MAGIC = 0,
    HEADER_VERSION = 4,
    HEADER_BACKING_OFFSET = 8,
    HEADER_BACKING_SIZE = 16,
    HEADER_CLUSTER_BITS = 20,
    HEADER_SIZE = 24,
    HEADER_CRYPT = 32,
    HEADER_L1_SIZE = 36,
    HEADER_L1_OFFSET = 40,
    HEADER_REFCOUNT_OFFSET = 48,
    HEADER_REFCOUNT_CLUSTERS = 56,
    HEADER_SNAPSHOT_COUNT = 60,
    HEADER_SNAPSHOT_OFFSET = 64,
    HEADER_V2_LENGTH = 72,
    HEADER_INCOMPATIBLE = 72,
    HEADER_COMPATIBLE = 80,
    HEADER_AUTOCLEAR = 88,
    HEADER_REFCOUNT_ORDER = 96,
    HEADER_LENGTH = 100,
    HEADER_V3_LENGTH = 104,
    HEADER_COMPRESSION = 104,
    HEADER_OURS_LENGTH = 112, /* what we write */
};

#define INCOMPATIBLE_DIRTY         BIT(0) /* refcounts may be behind */
#define INCOMPATIBLE_CORRUPT       BIT(1)
#define INCOMPATIBLE_EXTERNAL_DATA BIT(2)
#define INCOMPATIBLE_COMPRESSION   BIT(3) /* the header names another one than zlib */
#define INCOMPATIBLE_EXTENDED_L2   BIT(4)
#define INCOMPATIBLE_KNOWN                                                  \
    (INCOMPATIBLE_DIRTY | INCOMPATIBLE_CORRUPT | INCOMPATIBLE_COMPRESSION | \
     INCOMPATIBLE_EXTENDED_L2)
#define COMPATIBLE_LAZY_REFCOUNTS BIT(0)

enum qcow2_compression { COMPRESSION_ZLIB = 0, COMPRESSION_ZSTD = 1 };

/* Header extensions: type, length, data padded to 8 bytes. */
#define EXTENSION_END            0
#define EXTENSION_BACKING_FORMAT UINT32_C(0xe2792aca)
#define EXTENSION_FEATURE_NAMES  UINT32_C(0x6803f857)
#define FEATURE_NAME_SIZE        48 /* kind, bit, 46 bytes of name */

#define CLUSTER_BITS_MIN   9
#define CLUSTER_BITS_MAX   21
#define REFCOUNT_ORDER_MAX 6
#define BACKING_NAME_MAX   1023

/* Table entries. */
#define ENTRY_OFFSET     UINT64_C(0x00fffffffffffe00)
#define ENTRY_COPIED     BIT(63) /* refcount is exactly 1: may be written in place */
#define ENTRY_COMPRESSED BIT(62)
#define ENTRY_ZERO       BIT(0)
#define L1_RESERVED      UINT64_C(0x7f000000000001ff)
#define L2_RESERVED      UINT64_C(0x3f000000000001fe)
#define REFTABLE_OFFSET  UINT64_C(0xfffffffffffffe00)
#define SECTOR           UINT64_C(512)
#define SUBCLUSTERS      32

/* A snapshot's entry in the snapshot table. */
enum {
    SNAPSHOT_L1_OFFSET = 0,
    SNAPSHOT_L1_SIZE = 8,
    SNAPSHOT_ID_LENGTH = 12,
    SNAPSHOT_NAME_LENGTH = 14,
    SNAPSHOT_SECONDS = 16,
    SNAPSHOT_NANOSECONDS = 20,
    SNAPSHOT_VM_CLOCK = 24,
    SNAPSHOT_VM_STATE_SIZE = 32,
    SNAPSHOT_EXTRA_LENGTH = 36,
    SNAPSHOT_ENTRY_LENGTH = 40,
    /* Extra data. */
    SNAPSHOT_EXTRA_STATE_SIZE = 0,
    SNAPSHOT_EXTRA_DISK_SIZE = 8,
    SNAPSHOT_EXTRA_OURS = 16, /* bytes that we write */
};

#endif
