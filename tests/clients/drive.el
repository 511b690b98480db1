;;; drive.el --- drives a debug adapter with dap-mode  -*- lexical-binding: t; -*-

;; Usage: emacs --batch -l drive.el PYTHON ADAPTER PROGRAM
;; ADAPTER is a folder that PYTHON can run.  Exits with 0 when all was as it should be.

(package-initialize)
(setq debug-on-error t
      dap-auto-configure-features nil
      dap-breakpoints-file (make-temp-file "breakpoints")
      dap-print-io nil
      lsp-session-file (make-temp-name (expand-file-name "session" temporary-file-directory)))
(require 'dap-mode)
(require 'dap-ui)
(require 'dap-python)

(defvar drive-python (pop command-line-args-left))
(defvar drive-adapter (pop command-line-args-left))
(defvar drive-program (pop command-line-args-left))
(defvar drive-inside 4)

(defun drive-until (what condition)
  "Wait until CONDITION holds, which is called WHAT."
  (let ((until (time-add nil 60)))
    (while (not (funcall condition))
      (when (time-less-p until nil)
        (message "still not: %s" what)
        (kill-emacs 1))
      (accept-process-output nil 0.02))))

(defun drive-expect (what expected found)
  "End with a message when FOUND is not EXPECTED, as WHAT."
  (unless (equal expected found)
    (message "%s: %S, not %S" what found expected)
    (kill-emacs 1)))

(defun drive-ask (session command arguments)
  "Return the body of the answer to COMMAND with ARGUMENTS."
  (let ((answer nil))
    (dap--send-message (dap--make-request command arguments)
                       (lambda (message) (setq answer message))
                       session)
    (drive-until command (lambda () answer))
    (gethash "body" answer)))

(defvar drive-stopped nil)
(add-hook 'dap-stopped-hook (lambda (session) (setq drive-stopped session)))
(defvar drive-ended nil)
(add-hook 'dap-terminated-hook (lambda (_session) (setq drive-ended t)))

;; What shows a stop in windows has no place here.
(setq dap-auto-show-output nil)

(find-file drive-program)
(goto-char (point-min))
(forward-line (1- drive-inside))
(dap-breakpoint-add)

(dap-start-debugging-noexpand
 (list :type "python" :request "launch" :name "drive"
       :program drive-program :args [] :cwd (file-name-directory drive-program)
       :console "internalConsole"
       :dap-server-path (list drive-python drive-adapter)))

(drive-until "stopped" (lambda () drive-stopped))
(let* ((session drive-stopped)
       (thread (dap--debug-session-thread-id session))
       (trace (drive-ask session "stackTrace" (list :threadId thread)))
       (frame (elt (gethash "stackFrames" trace) 0)))
  (drive-expect "name" "add" (gethash "name" frame))
  (drive-expect "line" drive-inside (gethash "line" frame))
  (drive-expect
   "value" "3"
   (gethash "result"
            (drive-ask session "evaluate"
                       (list :expression "a + b" :frameId (gethash "id" frame)
                             :context "repl"))))
  (setq drive-stopped nil)
  (dap-next session)
  (drive-until "stepped" (lambda () drive-stopped))
  (setq trace (drive-ask session "stackTrace" (list :threadId thread)))
  (drive-expect "line after" (1+ drive-inside)
                (gethash "line" (elt (gethash "stackFrames" trace) 0)))
  (with-current-buffer (find-file-noselect drive-program)
    (goto-char (point-min))
    (forward-line (1- drive-inside))
    (dap-breakpoint-delete
     (dap--get-breakpoint-at-point (gethash buffer-file-name (dap--get-breakpoints)))
     buffer-file-name))
  (dap-continue session thread)
  (drive-until "ended" (lambda () drive-ended))
  (with-current-buffer (dap--debug-session-output-buffer session)
    (unless (string-match-p "^3$" (buffer-string))
      (message "printed: %S" (buffer-string))
      (kill-emacs 1))))
(kill-emacs 0)
;;; drive.el ends here
