import gc

# What a process imports stays, and to look through it for cycles, again and again, takes a tenth of a command's time.
# Once the apps are loaded it is put aside, and the search begins (smcsite.apps).
gc.disable()
