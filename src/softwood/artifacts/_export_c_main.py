"""The command line of an exported C file: reads a CSV table, writes the answers. Compiled only if asked for."""

from __future__ import annotations

OPENING = """\
#ifdef SOFTWOOD_MAIN
#include <ctype.h>
#include <stdio.h>
"""

READER = """\
static long line = 1; /* of the input, for messages */

static void stop(const char *what, const char *text)
{
    fprintf(stderr, "line %ld: %s%s%s\\n", line, what, text == NULL ? "" : ": ", text == NULL ? "" : text);
    exit(2);
}

static void *grown(void *memory, size_t size)
{
    memory = realloc(memory, size);
    if (memory == NULL)
        stop("out of memory", NULL);
    return memory;
}

static char *read_input(size_t *length)
{
    size_t room = 1 << 16, used = 0, got;
    char *text = grown(NULL, room + 1);
    while ((got = fread(text + used, 1, room - used, stdin)) > 0) {
        used += got;
        if (used == room)
            text = grown(text, (room *= 2) + 1);
    }
    text[used] = 0;
    *length = used;
    return text;
}

/* Cut the next record out of the text, in place; return the number of its cells, -1 at the end, 0 for a blank line. */
static long next_record(char **place, const char *end, char ***cells, size_t *room)
{
    char *from = *place, *to;
    long count = 0;
    if (from >= end)
        return -1;
    if (*from == '\\r' && from[1] == '\\n')
        from++;
    if (*from == '\\n') {
        *place = from + 1;
        return 0;
    }
    for (;;) {
        if ((size_t)count == *room)
            *cells = grown(*cells, (*room = 2 * *room + 16) * sizeof **cells);
        (*cells)[count++] = to = from;
        if (*from == '"') {
            for (from++; *from != '"' || from[1] == '"'; from++) {
                if (from >= end)
                    stop("a quoted cell does not end", NULL);
                if (*from == '"')
                    from++;
                line += *from == '\\n';
                *to++ = *from;
            }
            from++;
        }
        while (from < end && *from != ',' && *from != '\\n' && !(*from == '\\r' && from[1] == '\\n'))
            *to++ = *from++;
        if (from < end && *from == ',') {
            *to = 0;
            from++;
            continue;
        }
        from += from < end && *from == '\\r';
        *place = from + 1;
        *to = 0;
        return count;
    }
}

static int among(const char *text, const char *const list[])
{
    for (; *list != NULL; list++)
        if (strcmp(text, *list) == 0)
            return 1;
    return 0;
}

/* A number, or with is_boolean also yes, no and the like; NAN is missing. */
static double number(char *cell, int is_boolean)
{
    char *text = cell, *end;
    double value;
    while (isspace((unsigned char)*text))
        text++;
    for (end = text + strlen(text); end > text && isspace((unsigned char)end[-1]); end--)
        end[-1] = 0;
    for (end = text; *end != 0; end++)
        *end = (char)tolower((unsigned char)*end);
    if (among(text, missing_texts))
        return NAN;
    if (is_boolean && among(text, true_texts))
        return 1.0;
    if (is_boolean && among(text, false_texts))
        return 0.0;
    value = strtod(text, &end);
    if (*end != 0 || strpbrk(text, "x(") != NULL || isinf(value))
        stop("a cell holds no finite number", cell);
    if (is_boolean && value != 0.0 && value != 1.0 && !isnan(value))
        stop("a cell holds neither true nor false", cell);
    return value;
}

static void put_text(const char *text)
{
    putchar('"');
    for (; *text != 0; text++) {
        if (*text == '"')
            putchar('"');
        putchar(*text);
    }
    putchar('"');
}
"""

MAIN = """\
int main(void)
{
    size_t length, room = 0;
    char *text = read_input(&length), *place = text, **cells = NULL;
    const char *end = text + length;
    long width, count, at[WANTED];
    if (memchr(text, 0, length) != NULL)
        stop("the input holds a NUL byte and is no text", NULL);
    if (strncmp(text, "\\357\\273\\277", 3) == 0)
        place += 3;
    width = next_record(&place, end, &cells, &room);
    for (int wanted = 0; wanted < WANTED && names[wanted] != NULL; wanted++) {
        at[wanted] = -1;
        for (long i = 0; i < width; i++) {
            if (strcmp(cells[i], names[wanted]) != 0)
                continue;
            if (at[wanted] >= 0)
                stop("a column is there twice", names[wanted]);
            at[wanted] = i;
        }
        if (at[wanted] < 0)
            stop("a column is not there", names[wanted]);
    }
    for (int i = 0; header[i] != NULL; i++) {
        if (i > 0)
            putchar(',');
        put_text(header[i]);
    }
    putchar('\\n');
    for (line++; (count = next_record(&place, end, &cells, &room)) >= 0; line++) {
        struct softwood_row row;
        if (count == 0)
            continue;
        if (count != width)
            stop("a row has another number of cells than the header", NULL);
        fill(&row, cells, at);
        answer(&row);
    }
    free(cells);
    free(text);
    return fflush(stdout) != 0 || ferror(stdout) != 0 ? 2 : 0;
}
#endif /* SOFTWOOD_MAIN */
"""

CLASSIFIER_ANSWER = """\
static void answer(const struct softwood_row *row)
{
    double probability[SOFTWOOD_CLASSES];
    softwood_predict_proba(row, probability);
    if (LABELS_ARE_TEXT)
        put_text(softwood_classes[softwood_predict(row)]);
    else
        fputs(softwood_classes[softwood_predict(row)], stdout);
    for (int k = 0; k < SOFTWOOD_CLASSES; k++)
        printf(",%.17g", probability[k]);
    putchar('\\n');
}
"""

REGRESSION_ANSWER = """\
static void answer(const struct softwood_row *row)
{
    double value[SOFTWOOD_OUTPUTS];
    softwood_predict(row, value);
    for (int k = 0; k < SOFTWOOD_OUTPUTS; k++)
        printf("%s%.17g", k == 0 ? "" : ",", value[k]);
    putchar('\\n');
}
"""
