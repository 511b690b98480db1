/* An eval-frame hook that only calls the interpreter's own evaluation: what PEP 523 itself costs.
 * The benches compile it against each interpreter that they measure. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

static PyObject *
evaluate(PyThreadState *thread, struct _PyInterpreterFrame *frame, int throwing)
{
    return _PyEval_EvalFrameDefault(thread, frame, throwing);
}

static PyObject *
install(PyObject *module, PyObject *arguments)
{
    _PyInterpreterState_SetEvalFrameFunc(PyInterpreterState_Get(), evaluate);
    Py_RETURN_NONE;
}

static PyObject *
installed(PyObject *module, PyObject *arguments)
{
    PyInterpreterState *interpreter = PyInterpreterState_Get();
    return PyBool_FromLong(_PyInterpreterState_GetEvalFrameFunc(interpreter) == evaluate);
}

static PyMethodDef functions[] = {
    {"install", install, METH_NOARGS, "Put the hook in the interpreter's slot."},
    {"installed", installed, METH_NOARGS, "Tell whether the hook is in the slot."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "noop_hook", NULL, -1, functions, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC
PyInit_noop_hook(void)
{
    return PyModule_Create(&definition);
}
