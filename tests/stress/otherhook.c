/* Another tool's eval-frame hook: counts frames, and passes them on to the hook it found, or, if
   it thinks that it is alone, to the interpreter's own function. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

struct _PyInterpreterFrame;
typedef PyObject *(*evaluate)(PyThreadState *, struct _PyInterpreterFrame *, int);
extern evaluate _PyInterpreterState_GetEvalFrameFunc(PyInterpreterState *);
extern void _PyInterpreterState_SetEvalFrameFunc(PyInterpreterState *, evaluate);
extern PyObject *_PyEval_EvalFrameDefault(PyThreadState *, struct _PyInterpreterFrame *, int);

static evaluate found;
static int chains;
static long frames;

static PyObject *count(PyThreadState *thread, struct _PyInterpreterFrame *frame, int throwing)
{
    frames++;
    return (chains ? found : _PyEval_EvalFrameDefault)(thread, frame, throwing);
}

static PyObject *install(PyObject *self, PyObject *chain)
{
    chains = PyObject_IsTrue(chain);
    found = _PyInterpreterState_GetEvalFrameFunc(PyInterpreterState_Get());
    _PyInterpreterState_SetEvalFrameFunc(PyInterpreterState_Get(), count);
    Py_RETURN_NONE;
}

static PyObject *uninstall(PyObject *self, PyObject *unused)
{
    _PyInterpreterState_SetEvalFrameFunc(PyInterpreterState_Get(),
                                         chains ? found : _PyEval_EvalFrameDefault);
    Py_RETURN_NONE;
}

static PyObject *seen(PyObject *self, PyObject *unused)
{
    return PyLong_FromLong(frames);
}

static PyMethodDef methods[] = {
    {"install", install, METH_O, NULL},
    {"uninstall", uninstall, METH_NOARGS, NULL},
    {"seen", seen, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "otherhook", NULL, -1, methods};

PyMODINIT_FUNC PyInit_otherhook(void)
{
    return PyModule_Create(&definition);
}
