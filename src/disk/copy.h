/* SPDX-License-Identifier: Apache-2.0 */
/* Moving contents between images: what nacre image convert, commit and rebase do. */
#ifndef NACRE_DISK_COPY_H
#define NACRE_DISK_COPY_H

#include "disk/image.h"

struct copy_progress {
    void (*advance)(void *opaque, uint64_t done, uint64_t total); /* bytes; NULL: silent */
    void *opaque;
};

/* All of `from`, backing images included, into an image that is all zeroes. */
int image_copy(struct image *from, struct image *to, const struct copy_progress *progress,
               struct error *error);

/* What `from` itself holds, its backing image left out, over what is in `to`. */
int image_copy_own(struct image *from, struct image *to, const struct copy_progress *progress,
                   struct error *error);

/* Where `image` shows its backing image: what differs from `other` (NULL: from zeroes) is written
 * into it, so that it may be based on `other` from then on. */
int image_copy_difference(struct image *image, struct image *other,
                          const struct copy_progress *progress, struct error *error);

/* As image->ops->extent, with the backing images looked into. *where: whose extent it is, NULL when
 * nobody has it. */
int image_find(struct image *image, uint64_t offset, uint64_t length, struct extent *extent,
               struct image **where, unsigned *depth);

#endif
