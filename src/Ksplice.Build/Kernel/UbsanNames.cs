// SPDX-License-Identifier: MIT
// The data that UBSAN's calls point at names source files, and no option of the compiler maps these names: they would tell the place of the
// tree, which is not the same for a pre and a post object and not the same on two machines. So they are made relative to the tree in the
// object, as all other names are. A shorter name leaves zeros behind it, and nothing else moves.
using System.Runtime.InteropServices;
using System.Text;
using Ksplice.Build.Elf;
using Ksplice.Build.Patching;

namespace Ksplice.Build.Kernel;

internal static class UbsanNames
{
    private const ElfSectionFlags Strings = ElfSectionFlags.Merge | ElfSectionFlags.Strings;

    /// <summary>Shortens the names in an object.</summary>
    /// <param name="file">The object.</param>
    /// <param name="root">The tree that it was compiled from.</param>
    public static void Shorten(string file, string root)
    {
        byte[] bytes = File.ReadAllBytes(file);
        if (bytes.AsSpan().IndexOf(".data..Lubsan_"u8) < 0)
            return;
        bool changed = false;
        foreach (var section in ElfObject.Read(bytes, file).Sections)
        {
            if ((section.Flags & Strings) == Strings && section.IsAllocated && MemoryMarshal.TryGetArray(section.Data, out var data))
                changed |= Shorten(data.AsSpan(), root + "/");
        }
        if (changed)
            File.WriteAllBytes(file, bytes);
    }

    private static bool Shorten(Span<byte> strings, string prefix)
    {
        bool changed = false;
        while (strings.IndexOf((byte)0) is >= 0 and var length)
        {
            string name = Encoding.UTF8.GetString(strings[..length]);
            string path = LineDirectives.PathOf(name.StartsWith(prefix, StringComparison.Ordinal) ? name[prefix.Length..] : name);
            if (path.Length != name.Length)
            {
                strings[..length].Clear();
                Encoding.UTF8.GetBytes(path, strings);
                changed = true;
            }
            strings = strings[(length + 1)..];
        }
        return changed;
    }
}
