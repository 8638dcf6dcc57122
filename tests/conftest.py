from hypothesis import settings

settings.register_profile("rowcast", deadline=None)  # the first call may compile a kernel
settings.load_profile("rowcast")
