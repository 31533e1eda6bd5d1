// SPDX-License-Identifier: MIT
namespace Ksplice.Build.Elf;

/// <summary>Section types (System V ABI, "Section Header").</summary>
public enum ElfSectionType : uint
{
#pragma warning disable CS1591 // The names are the ABI's own.
    Null = 0,
    ProgBits = 1,
    SymbolTable = 2,
    StringTable = 3,
    Rela = 4,
    Note = 7,
    NoBits = 8,
    Rel = 9,
    InitArray = 14,
    FiniArray = 15,
    Group = 17,
    SymbolTableExtendedIndex = 18,
#pragma warning restore CS1591
}

/// <summary>Section flags (System V ABI, "sh_flags").</summary>
[Flags]
public enum ElfSectionFlags : ulong
{
#pragma warning disable CS1591
    None = 0,
    Write = 1,
    Alloc = 2,
    Execute = 4,
    Merge = 0x10,
    Strings = 0x20,
    InfoLink = 0x40,
    LinkOrder = 0x80,
    Group = 0x200,
    Tls = 0x400,
    Compressed = 0x800,
#pragma warning restore CS1591
}

/// <summary>Symbol types (System V ABI, "st_info").</summary>
public enum ElfSymbolType : byte
{
#pragma warning disable CS1591
    None = 0,
    Object = 1,
    Function = 2,
    Section = 3,
    File = 4,
    Common = 5,
    Tls = 6,
#pragma warning restore CS1591
}

/// <summary>Symbol bindings (System V ABI, "st_info").</summary>
public enum ElfSymbolBinding : byte
{
#pragma warning disable CS1591
    Local = 0,
    Global = 1,
    Weak = 2,
#pragma warning restore CS1591
}

/// <summary>Relocation types of kernel objects (AMD64 ABI, table 4.9).</summary>
public enum ElfRelocationType : uint
{
#pragma warning disable CS1591
    None = 0,
    Abs64 = 1,
    Pc32 = 2,
    Plt32 = 4,
    Abs32 = 10,
    Abs32Signed = 11,
    Abs8 = 14,
    Pc8 = 15,
    Pc64 = 24,
#pragma warning restore CS1591
}
