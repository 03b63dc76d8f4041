/* SPDX-License-Identifier: Apache-2.0 */
/* Screenshots: the picture as a PNG file (W3C Portable Network Graphics, third edition), by
 * libpng. */
#include "display/png.h"

#include "display/picture.h"

#include <errno.h>
#include <png.h>
#include <stdlib.h>
#include <unistd.h>

static int write_all(int fd, const uint8_t *bytes, size_t size, struct error *error)
{
    while (size) {
        ssize_t written = write(fd, bytes, size);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return error_set(error, errno, "screenshot: cannot write the file: %s",
                             strerror(errno));
        bytes += written;
        size -= (size_t)written;
    }
    return 0;
}

/* Three bytes a dot, red first. */
static void draw(const struct picture *picture, const uint8_t *memory, uint8_t *bytes)
{
    uint32_t dots[PICTURE_WIDTH_MAX];
    for (unsigned line = 0; line < picture->height; line++) {
        picture_draw_line(picture, memory, line, dots);
        for (unsigned x = 0; x < picture->width; x++) {
            *bytes++ = (uint8_t)(dots[x] >> 16);
            *bytes++ = (uint8_t)(dots[x] >> 8);
            *bytes++ = (uint8_t)dots[x];
        }
    }
}

static int write_image(png_image *image, const uint8_t *bytes, int fd, struct error *error)
{
    png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(*image);
    uint8_t *file = malloc(size);
    if (!file)
        return error_set(error, ENOMEM, "screenshot: out of memory");
    int result = png_image_write_to_memory(image, file, &size, 0, bytes, 0, NULL)
                     ? write_all(fd, file, size, error)
                     : error_set(error, EIO, "screenshot: libpng: %s", image->message);
    free(file);
    return result;
}

int png_write_screen(const struct screen *screen, int fd, struct error *error)
{
    struct screen_registers registers;
    struct picture picture;
    if (!screen_registers(screen, &registers))
        return error_set(error, EBUSY,
                         "screenshot: the guest changes the screen's mode all the time");
    picture_describe(&picture, &registers);
    png_image image = {.version = PNG_IMAGE_VERSION,
                       .width = picture.width,
                       .height = picture.height,
                       .format = PNG_FORMAT_RGB,
                       .flags = PNG_IMAGE_FLAG_FAST};
    uint8_t *bytes = malloc(PNG_IMAGE_SIZE(image));
    if (!bytes)
        return error_set(error, ENOMEM, "screenshot: out of memory");
    draw(&picture, screen->memory, bytes);
    int result = write_image(&image, bytes, fd, error);
    png_image_free(&image);
    free(bytes);
    return result;
}
