/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The benchmark's work for gcc -O2: hash tables, sorts, trees and a small evaluator, each made for
 * several types by macros. Includes nothing, so that it is the same text everywhere.
 */
typedef unsigned long size;
typedef unsigned char byte;
typedef unsigned int word;

void *malloc(size bytes);
void free(void *memory);

static inline size mix(size value)
{
    value ^= value >> 33;
    value *= 0xff51afd7ed558ccdul;
    value ^= value >> 29;
    return value;
}

#define TABLE(name, type)                                                                   \
    struct name {                                                                           \
        type *keys;                                                                         \
        int *values;                                                                        \
        size slots, used;                                                                   \
    };                                                                                      \
    int name##_put(struct name *table, type key, int value);                                \
    static int name##_grow(struct name *table)                                              \
    {                                                                                       \
        struct name larger = {malloc(table->slots * 2 * sizeof(type)),                      \
                              malloc(table->slots * 2 * sizeof(int)), table->slots * 2, 0}; \
        if (!larger.keys || !larger.values) {                                               \
            free(larger.keys);                                                              \
            free(larger.values);                                                            \
            return -1;                                                                      \
        }                                                                                   \
        for (size i = 0; i < larger.slots; i++)                                             \
            larger.values[i] = -1;                                                          \
        for (size i = 0; i < table->slots; i++)                                             \
            if (table->values[i] >= 0)                                                      \
                name##_put(&larger, table->keys[i], table->values[i]);                      \
        free(table->keys);                                                                  \
        free(table->values);                                                                \
        *table = larger;                                                                    \
        return 0;                                                                           \
    }                                                                                       \
    int name##_put(struct name *table, type key, int value)                                 \
    {                                                                                       \
        if (table->used * 4 >= table->slots * 3 && name##_grow(table) < 0)                  \
            return -1;                                                                      \
        size slot = mix((size)key) & (table->slots - 1);                                    \
        while (table->values[slot] >= 0 && table->keys[slot] != key)                        \
            slot = (slot + 1) & (table->slots - 1);                                         \
        table->used += table->values[slot] < 0;                                             \
        table->keys[slot] = key;                                                            \
        table->values[slot] = value;                                                        \
        return 0;                                                                           \
    }                                                                                       \
    int name##_get(const struct name *table, type key)                                      \
    {                                                                                       \
        for (size slot = mix((size)key) & (table->slots - 1);;                              \
             slot = (slot + 1) & (table->slots - 1))                                        \
            if (table->values[slot] < 0 || table->keys[slot] == key)                        \
                return table->values[slot];                                                 \
    }

#define SORT(name, type)                                   \
    static void name##_insertion(type *values, size count) \
    {                                                      \
        for (size i = 1; i < count; i++) {                 \
            type value = values[i];                        \
            size j = i;                                    \
            for (; j > 0 && value < values[j - 1]; j--)    \
                values[j] = values[j - 1];                 \
            values[j] = value;                             \
        }                                                  \
    }                                                      \
    void name(type *values, size count)                    \
    {                                                      \
        while (count > 16) {                               \
            type pivot = values[count / 2], swap;          \
            size left = 0, right = count - 1;              \
            for (;;) {                                     \
                while (values[left] < pivot)               \
                    left++;                                \
                while (pivot < values[right])              \
                    right--;                               \
                if (left >= right)                         \
                    break;                                 \
                swap = values[left];                       \
                values[left++] = values[right];            \
                values[right--] = swap;                    \
            }                                              \
            if (left == 0)                                 \
                left = 1;                                  \
            name(values, left);                            \
            values += left;                                \
            count -= left;                                 \
        }                                                  \
        name##_insertion(values, count);                   \
    }

#define MATRIX(name, type, n)                                         \
    void name(type out[n][n], const type a[n][n], const type b[n][n]) \
    {                                                                 \
        for (int i = 0; i < n; i++)                                   \
            for (int j = 0; j < n; j++) {                             \
                type sum = 0;                                         \
                for (int k = 0; k < n; k++)                           \
                    sum += a[i][k] * b[k][j];                         \
                out[i][j] = sum;                                      \
            }                                                         \
    }

#define EVALUATE(name, type)                                        \
    type name(const byte *code, type *stack, const type *constants) \
    {                                                               \
        type *top = stack, left, right;                             \
        for (;;) {                                                  \
            switch (*code++) {                                      \
            case 0:                                                 \
                return top[-1];                                     \
            case 1:                                                 \
                *top++ = constants[*code++];                        \
                break;                                              \
            case 2:                                                 \
                right = *--top, left = *--top;                      \
                *top++ = left + right;                              \
                break;                                              \
            case 3:                                                 \
                right = *--top, left = *--top;                      \
                *top++ = left * right;                              \
                break;                                              \
            case 4:                                                 \
                right = *--top, left = *--top;                      \
                *top++ = right == 0 ? 0 : left / right;             \
                break;                                              \
            case 5:                                                 \
                top[0] = top[-1];                                   \
                top++;                                              \
                break;                                              \
            case 6:                                                 \
                right = top[-1];                                    \
                top[-1] = top[-2];                                  \
                top[-2] = right;                                    \
                break;                                              \
            case 7:                                                 \
                code += *--top < constants[0] ? *code + 1 : 1;      \
                break;                                              \
            default:                                                \
                return 0;                                           \
            }                                                       \
        }                                                           \
    }

#define ALL(prefix, type)                 \
    TABLE(prefix##_table, type)           \
    SORT(prefix##_sort, type)             \
    MATRIX(prefix##_multiply4, type, 4)   \
    MATRIX(prefix##_multiply8, type, 8)   \
    MATRIX(prefix##_multiply64, type, 64) \
    EVALUATE(prefix##_evaluate, type)

ALL(byte, byte)
ALL(short, short)
ALL(int, int)
ALL(word, word)
ALL(long, long)
ALL(size, size)
ALL(float, float)
ALL(double, double)
