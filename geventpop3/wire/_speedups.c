/* The inner loops of wire/stuffing.py and wire/fast_path.py in C: optional, only for speed. Those modules have the same
 * functions in Python, and the same tests check both. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <string.h>

/* Counts the octets that encoding adds before byte-stuffing (*line_ends) and by byte-stuffing (*dots). */
static void count(const char *chunk, Py_ssize_t size, int at_line_start, int after_cr, Py_ssize_t *line_ends,
                  Py_ssize_t *dots) {
    const char *at = chunk, *end = chunk + size, *lf;
    *line_ends = 0;
    *dots = at_line_start && chunk[0] == '.';
    while (at < end && (lf = memchr(at, '\n', (size_t)(end - at))) != NULL) {
        *line_ends += lf == chunk ? !after_cr : lf[-1] != '\r';
        at = lf + 1;
        if (at < end && *at == '.')
            ++*dots;
    }
}

/* Writes the encoded chunk; returns its end. */
static char *encode(char *out, const char *chunk, Py_ssize_t size, int at_line_start, int after_cr) {
    const char *at = chunk, *end = chunk + size, *lf;

    if (at_line_start && chunk[0] == '.')
        *out++ = '.';
    while (at < end && (lf = memchr(at, '\n', (size_t)(end - at))) != NULL) {
        memcpy(out, at, (size_t)(lf - at));
        out += lf - at;
        if (lf == chunk ? !after_cr : lf[-1] != '\r')
            *out++ = '\r';
        *out++ = '\n';
        at = lf + 1;
        if (at < end && *at == '.')
            *out++ = '.';
    }
    memcpy(out, at, (size_t)(end - at));
    return out + (end - at);
}

static PyObject *encode_chunk(PyObject *Py_UNUSED(module), PyObject *args) {
    const char *chunk;
    Py_ssize_t size, line_ends = 0, dots = 0;
    int at_line_start, after_cr;
    PyObject *given, *encoded;

    if (!PyArg_ParseTuple(args, "Spp", &given, &at_line_start, &after_cr))
        return NULL;
    chunk = PyBytes_AS_STRING(given);
    size = PyBytes_GET_SIZE(given);
    if (size != 0)
        count(chunk, size, at_line_start, after_cr, &line_ends, &dots);
    if (size == 0 || line_ends + dots == 0)
        return Py_BuildValue("On", given, size);
    encoded = PyBytes_FromStringAndSize(NULL, size + line_ends + dots);
    if (encoded == NULL)
        return NULL;
    encode(PyBytes_AS_STRING(encoded), chunk, size, at_line_start, after_cr);
    return Py_BuildValue("Nn", encoded, size + line_ends);
}

/* Writes encoded lines of the chunk while each surely fits before *limit*; returns the end of the output. *at is then
 * the first octet that is not encoded yet. The chunk begins at a line start. */
static char *encode_lines(char *out, const char *limit, const char **at, const char *end) {
    const char *line = *at, *lf;

    while (line < end && (lf = memchr(line, '\n', (size_t)(end - line))) != NULL) {
        if (limit - out < lf - line + 3)
            break;
        if (*line == '.')
            *out++ = '.';
        memcpy(out, line, (size_t)(lf - line));
        out += lf - line;
        if (lf == line || lf[-1] != '\r')
            *out++ = '\r';
        *out++ = '\n';
        line = lf + 1;
    }
    *at = line;
    return out;
}

static PyObject *stuff_whole(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    const char *content, *at, *end;
    Py_ssize_t size, before, room, line_ends = 0, dots = 0, written;
    int unended;
    PyObject *body;
    char *out;

    if (given < 1 || given > 2 || !PyBytes_Check(args[0]) || (given == 2 && !PyBytes_Check(args[1]))) {
        PyErr_SetString(PyExc_TypeError, "the message and its prefix must be bytes");
        return NULL;
    }
    at = content = PyBytes_AS_STRING(args[0]);
    size = PyBytes_GET_SIZE(args[0]);
    end = content + size;
    before = given == 2 ? PyBytes_GET_SIZE(args[1]) : 0;
    unended = size != 0 && end[-1] != '\n';

    /* Enough if lines have 32 octets or more on average: each octet is then read only once. */
    room = before + size + size / 32 + 64;
    body = PyBytes_FromStringAndSize(NULL, room);
    if (body == NULL)
        return NULL;
    out = PyBytes_AS_STRING(body);
    if (before != 0)
        memcpy(out, PyBytes_AS_STRING(args[1]), (size_t)before);
    out = encode_lines(out + before, PyBytes_AS_STRING(body) + room, &at, end);
    written = out - PyBytes_AS_STRING(body);

    /* The rest: a last line without its end, or all lines that did not fit. */
    if (at < end)
        count(at, end - at, 1, 0, &line_ends, &dots);
    room = written + (end - at) + line_ends + dots + 2 * unended + 3;
    if (_PyBytes_Resize(&body, room) < 0)
        return NULL;
    out = PyBytes_AS_STRING(body) + written;
    if (at < end)
        out = encode(out, at, end - at, 1, 0);
    if (unended) {
        *out++ = '\r';
        *out++ = '\n';
    }
    memcpy(out, ".\r\n", 3);
    return body;
}

#define VERB_OCTETS 40

static PyObject *plain_command(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    const char *octets, *line, *verb_end, *word, *at, *end;
    Py_ssize_t size, start, limit;
    PyObject *words;

    if (given != 3 || !PyBytes_Check(args[0])) {
        PyErr_SetString(PyExc_TypeError, "the arguments must be bytes, the start of the line, and its limit");
        return NULL;
    }
    start = PyLong_AsSsize_t(args[1]);
    limit = PyLong_AsSsize_t(args[2]);
    if (PyErr_Occurred())
        return NULL;
    octets = PyBytes_AS_STRING(args[0]);
    size = PyBytes_GET_SIZE(args[0]);
    if (start < 0 || start >= size || limit <= 0)
        Py_RETURN_NONE;
    line = at = octets + start;
    end = size - start > limit ? line + limit : octets + size;

    while (at < end && at - line < VERB_OCTETS && ((*at >= 'A' && *at <= 'Z') || (*at >= '0' && *at <= '9')))
        ++at;
    verb_end = word = at;
    if (at == line)
        Py_RETURN_NONE;
    if (at < end && *at == ' ') {
        word = ++at;
        while (at < end && ((*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') || (*at >= '0' && *at <= '9')))
            ++at;
        if (at == word)
            Py_RETURN_NONE;
    }
    end = end - at > 2 ? at + 2 : end;
    if (at < end && *at == '\n')
        end = at + 1;
    else if (end - at != 2 || at[0] != '\r' || at[1] != '\n')
        Py_RETURN_NONE;

    words = PyList_New(word != verb_end);
    if (words == NULL)
        return NULL;
    if (word != verb_end) {
        PyObject *argument = PyUnicode_DecodeASCII(word, at - word, NULL);
        if (argument == NULL) {
            Py_DECREF(words);
            return NULL;
        }
        PyList_SET_ITEM(words, 0, argument);
    }
    return Py_BuildValue("s#Ny#n", line, verb_end - line, words, line, at - line, (Py_ssize_t)(end - octets));
}

static PyObject *plain_status_line(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    const char *text, *indicator;
    Py_ssize_t size, before, limit, at;
    int positive;
    PyObject *line;
    char *out;

    if (given != 3 || !PyUnicode_Check(args[1])) {
        PyErr_SetString(PyExc_TypeError, "the arguments must be a truth value, the text, and the limit");
        return NULL;
    }
    positive = PyObject_IsTrue(args[0]);
    limit = PyLong_AsSsize_t(args[2]);
    if (positive < 0 || PyErr_Occurred())
        return NULL;
    indicator = positive ? "+OK " : "-ERR ";
    before = positive ? 4 : 5;
    size = PyUnicode_GET_LENGTH(args[1]);
    /* The limit may be any number: check it before the subtraction, which could overflow. */
    if (size == 0 || !PyUnicode_IS_ASCII(args[1]) || limit < before + 2 || size > limit - before - 2)
        Py_RETURN_NONE;
    text = (const char *)PyUnicode_1BYTE_DATA(args[1]);
    if (text[0] == '[')
        Py_RETURN_NONE;
    for (at = 0; at < size; ++at)
        if (text[at] < ' ' || text[at] == 0x7f)
            Py_RETURN_NONE;
    line = PyBytes_FromStringAndSize(NULL, before + size + 2);
    if (line == NULL)
        return NULL;
    out = PyBytes_AS_STRING(line);
    memcpy(out, indicator, (size_t)before);
    memcpy(out + before, text, (size_t)size);
    memcpy(out + before + size, "\r\n", 2);
    return line;
}

static PyMethodDef methods[] = {
    {"encode_chunk", encode_chunk, METH_VARARGS, "Same as stuffing.encode_chunk_in_python."},
    {"stuff_whole", (PyCFunction)(void (*)(void))stuff_whole, METH_FASTCALL, "Same as stuffing.stuff_whole_in_python."},
    {"plain_command", (PyCFunction)(void (*)(void))plain_command, METH_FASTCALL,
     "Same as fast_path.plain_command_in_python."},
    {"plain_status_line", (PyCFunction)(void (*)(void))plain_status_line, METH_FASTCALL,
     "Same as fast_path.plain_status_line_in_python."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef_Slot slots[] = {
#ifdef Py_GIL_DISABLED
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, .m_name = "geventpop3.wire._speedups", .m_methods = methods, .m_slots = slots,
};

PyMODINIT_FUNC PyInit__speedups(void) { return PyModuleDef_Init(&module); }
