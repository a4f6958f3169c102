"""The half that runs on the far side of `exec`: started by `python -I -S`, it may import the standard library and
itself only.

`zygote` supervises and holds no program, no input and no result; its children (`child`) put on the jail (`jail`,
made of `landlock` and `seccomp`), read their job from a sealed file and run it (`guest`, `checker`). `wire` is the one
module that both halves share.
"""
