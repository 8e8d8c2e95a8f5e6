/* The inner loop of wire/stuffing.py in C: optional, for speed alone. stuffing.encode_chunk says what it does, and the
 * same tests hold for both. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <string.h>

/* How many octets encoding adds before byte-stuffing (*line_ends) and by it (*dots). */
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

static PyObject *encode_chunk(PyObject *Py_UNUSED(module), PyObject *args) {
    const char *chunk, *at, *end, *lf;
    Py_ssize_t size, line_ends, dots;
    int at_line_start, after_cr;
    PyObject *given, *encoded;
    char *out;

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
    out = PyBytes_AS_STRING(encoded);
    if (at_line_start && chunk[0] == '.')
        *out++ = '.';
    at = chunk;
    end = chunk + size;
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
    return Py_BuildValue("Nn", encoded, size + line_ends);
}

static PyMethodDef methods[] = {
    {"encode_chunk", encode_chunk, METH_VARARGS, "The same as stuffing.encode_chunk_in_python."},
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
